"""Components that a recorded forward gave stand for themselves."""

import pytest
import torch
from torch import Tensor, nn

import surgery
from surgery import Component
from surgery.errors import NoEffectError, TargetError
from surgery.targets import resolve


class Output(nn.Module):
    """A residual add whose skip comes from outside: only the whole model tells."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(4, 4)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        out: Tensor = self.dense(x) + before
        return out


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.output = Output()
        self.unused = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.output(self.inner(x), x)
        return out


def listed(name: str) -> tuple[Model, Tensor, Component]:
    torch.manual_seed(0)
    model, x = Model().eval(), torch.randn(2, 4)
    (found,) = (c for c in surgery.components(model, x) if str(c) == name)
    return model, x, found


def test_a_listed_component_is_used_without_another_recording() -> None:
    model, x, skip = listed("output:skip")
    with surgery.ablate(model, skip):
        cut = model(x)
    assert torch.equal(cut, model.output.dense(model.inner(x)))


def test_listed_components_form_a_group() -> None:
    model, x, skip = listed("output:skip")
    _, _, branch = listed("output:branch")
    with surgery.ablate(model, [skip, branch]):
        assert not model(x).any()


def test_the_same_by_name_asks_for_inputs() -> None:
    model, x, skip = listed("output:skip")
    with pytest.raises(TargetError, match="inputs="):
        with surgery.ablate(model, str(skip)):
            model(x)


def test_a_component_that_never_ran_is_refused() -> None:
    model, _, unused = listed("unused")
    with pytest.raises(NoEffectError, match="'unused' never ran"):
        surgery.ablate(model, unused)


def test_a_component_of_another_model_is_looked_up_by_name() -> None:
    _, _, skip = listed("output:skip")
    with pytest.raises(TargetError, match="names nothing in this Linear"):
        resolve(nn.Linear(4, 4), skip)


class Mirrored(nn.Module):
    """Has at `output:add#0` the operands of `Output` the other way round."""

    class Output(Output):
        def forward(self, x: Tensor, before: Tensor) -> Tensor:
            out: Tensor = before + self.dense(x)
            return out

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.output = self.Output()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.output(self.inner(x), x)
        return out


def test_what_was_listed_of_another_class_is_found_anew() -> None:
    _, x, branch = listed("output:branch")
    model = Mirrored()
    with surgery.ablate(model, branch, inputs=(x,)):
        assert torch.equal(model(x), x)
    with pytest.raises(TargetError, match="inputs="):
        with surgery.ablate(model, branch):
            model(x)
