"""Every output mode on every structure of outputs and inputs, at several dials."""

from __future__ import annotations

import re
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import surgery
from surgery.errors import OperationError


class Pair(NamedTuple):
    hidden: Tensor
    weights: Tensor


@dataclass
class Plain:
    hidden: Tensor
    name: str = "n"


@dataclass(frozen=True)
class Frozen:
    hidden: Tensor
    derived: float = field(init=False, default=2.0)


def model_output(y: Tensor) -> object:
    from transformers.modeling_outputs import BaseModelOutput

    return BaseModelOutput(last_hidden_state=y, hidden_states=(y + 1,))


STRUCTURES: dict[str, tuple[Callable[[Tensor], Any], Callable[[Any], Tensor]]] = {
    "tensor": (lambda y: y, lambda out: out),
    "tuple": (lambda y: (y, y + 1), lambda out: out[0]),
    "list": (lambda y: [y, "text"], lambda out: out[0]),
    "dict": (lambda y: {"a": y, "b": y + 1}, lambda out: out["a"]),
    "OrderedDict": (lambda y: OrderedDict(a=y, b=1), lambda out: out["a"]),
    "defaultdict": (lambda y: defaultdict(int, a=y), lambda out: out["a"]),
    "namedtuple": (lambda y: Pair(y, y + 1), lambda out: out.hidden),
    "dataclass": (lambda y: Plain(y), lambda out: out.hidden),
    "frozen dataclass": (lambda y: Frozen(y), lambda out: out.hidden),
    "ModelOutput": (model_output, lambda out: out.last_hidden_state),
    "integers first": (lambda y: (y.argmax(-1), y), lambda out: out[1]),
    "nested": (lambda y: {"a": [None, (3, y)]}, lambda out: out["a"][1][1]),
}


class Part(nn.Module):
    def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.wrap = wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(self.linear(x))


class Outer(nn.Module):
    """Hands the part's whole output on, so that a test sees all of it."""

    def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.part = Part(wrap)

    def forward(self, x: Tensor) -> Any:
        return self.part(x)


X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def truth(mode: str, y: Tensor) -> Tensor:
    match mode:
        case "zero" | "constant":
            return torch.zeros_like(y)
        case "identity":
            return X
        case "mean":
            return y.double().mean(0, keepdim=True).float().expand_as(y)
        case _:
            return y.flip(0)


@pytest.mark.parametrize("dial", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("mode", ["zero", "constant", "identity", "mean", "flip"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_main_tensor_is_replaced_and_the_rest_stays(
    structure: str, mode: str, dial: float
) -> None:
    torch.manual_seed(0)
    wrap, main = STRUCTURES[structure]
    model = Outer(wrap)
    before = model(X)
    operation: Any = mode
    if mode == "flip":

        def operation(output: Tensor, inputs: tuple[Any, ...]) -> Tensor:
            return output.flip(0)

    data = [(X[:4], None), (X[4:], None)] if mode == "mean" else None
    with surgery.ablate(model, "part", operation, dial=dial, data=data) as op:
        after = model(X)
        (row,) = op.effect()
    assert type(after) is type(before)
    y = main(before)
    expected = (1 - dial) * y + dial * truth(mode, y)
    if dial == 0:
        assert torch.equal(main(after), y)
    torch.testing.assert_close(main(after), expected)
    assert row.fired == 1 and row.changed is (dial > 0)
    if structure in ("tuple", "namedtuple"):
        assert torch.equal(after[1], before[1])
    if structure == "ModelOutput":
        assert torch.equal(after.hidden_states[0], before.hidden_states[0])
        assert list(after.keys()) == list(before.keys())
    if structure == "defaultdict":
        assert after["missing"] == 0


def test_an_output_without_a_tensor_is_refused() -> None:
    model = Outer(lambda y: "text")
    with (
        pytest.raises(OperationError, match="no tensor comes out of part"),
        surgery.ablate(model, "part"),
    ):
        model(X)


def test_a_dial_between_needs_floating_values() -> None:
    model = Outer(lambda y: y.argmax(-1))
    with (
        pytest.raises(OperationError, match=r"needs floating-point values.*use dial=1"),
        surgery.ablate(model, "part", dial=0.5),
    ):
        model(X)
    with surgery.ablate(model, "part"):
        assert not model(X).any()


@pytest.mark.parametrize("dial", [-0.1, 1.1, float("nan")])
def test_a_dial_outside_0_and_1_is_refused(dial: float) -> None:
    with pytest.raises(OperationError, match=r"dial must lie in \[0, 1\]"):
        surgery.ablate(Outer(lambda y: y), "part", dial=dial)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.part = _Mix()

    def forward(self, x: Tensor, scale: Tensor) -> Any:
        return self.part(scale.long(), other=scale, x=x)


class _Mix(nn.Module):
    def forward(self, index: Tensor, other: Tensor, x: Tensor) -> Tensor:
        return torch.relu(x) * other


def test_identity_takes_the_input_that_fits_wherever_it_stands() -> None:
    scale = torch.rand(6, 1)
    model = TwoInputs()
    with surgery.ablate(model, "part", "identity"):
        assert torch.equal(model(X, scale), X)


def test_a_function_gets_positional_then_keyword_inputs() -> None:
    scale = torch.rand(6, 1)
    model = TwoInputs()
    seen: list[tuple[Any, ...]] = []

    def keep(output: Tensor, inputs: tuple[Any, ...]) -> Tensor:
        seen.append(inputs)
        return output

    with surgery.ablate(model, "part", keep):
        model(X, scale)
    assert torch.equal(seen[0][1], scale) and torch.equal(seen[0][2], X)


def test_a_function_must_return_a_tensor_of_the_output_s_shape() -> None:
    model = Outer(lambda y: y)
    with (
        pytest.raises(OperationError, match="returned NoneType at part"),
        surgery.ablate(model, "part", lambda output, inputs: None),
    ):
        model(X)
    with (
        pytest.raises(OperationError, match=r"returned shape \(6,\) at part"),
        surgery.ablate(model, "part", lambda output, inputs: output[:, 0]),
    ):
        model(X)


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.clone()
        y = self.drop(self.act(x))
        kept = y.clone()
        y += 1  # in place after a replaced output
        return kept, y


def test_identity_on_an_in_place_module_gives_the_input_before_the_change() -> None:
    model = InPlace().eval()
    with surgery.ablate(model, "act", "identity") as op:
        kept, added = model(X)
        assert torch.equal(kept, X) and torch.equal(added, X + 1)
        assert next(iter(op.effect())).changed is True


@pytest.mark.parametrize("mode", ["zero", "mean", "constant"])
def test_an_in_place_add_after_a_replaced_output_does_not_reach_the_operation(
    mode: str,
) -> None:
    model = InPlace().eval()
    data = [(X, None)] if mode == "mean" else None
    value = torch.full((4,), 5.0)
    wanted = {
        "zero": torch.zeros_like(X),
        "constant": value.expand_as(X),
        "mean": X.relu().mean(0, keepdim=True).expand_as(X),
    }[mode]
    what: Any = surgery.ops.Constant(value) if mode == "constant" else mode
    with surgery.ablate(model, "act", what, data=data):
        for _ in range(2):  # the second call would see the first one's change
            kept, added = model(X)
            torch.testing.assert_close(kept, wanted)
            torch.testing.assert_close(added, wanted + 1)
    assert torch.equal(value, torch.full((4,), 5.0))


def test_an_output_that_is_an_input_object_is_replaced_without_touching_it() -> None:
    model = nn.Sequential(nn.Identity(), nn.Dropout()).eval()
    x = X.clone()
    with surgery.ablate(model, "1"):
        assert not model(x).any()
    assert torch.equal(x, X)


def test_zero_on_an_output_that_is_zero_already_fires_and_changes_nothing() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    with torch.no_grad():
        model[0].bias.fill_(-100)  # type: ignore[operator]
    with surgery.ablate(model, "1") as op:
        model(X)
        (row,) = op.effect(strict=True)
    assert (row.fired, row.changed) == (1, False)


def test_what_is_left_of_a_structured_output_is_said() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(4, 3)
            self.last = nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.last(self.lstm(x)[0])
            return y

    model = Model()
    for mode, note in [
        ("zero", "1 of 3 tensors"),
        ("identity", r"adapter: .+; 1 of 3 tensors"),
    ]:
        with surgery.ablate(model, ["lstm", "last"], mode) as op:
            model(X)
            notes = {row.component: row.note for row in op.effect()}
        assert re.fullmatch(note, notes["lstm"])
        assert "of" not in notes["last"].split()
