"""Graphs of whole models that have hooks, and what a graph is checked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import surgery
from surgery.errors import BackendError
from surgery.graphs import export_graph, symbolic_graph

X = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
BOTH = pytest.mark.parametrize("make", [export_graph, symbolic_graph])


class Collecting(nn.Module):
    """Collects what its layer gives by a hook that its first forward puts there."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 4)
        self.other = nn.Linear(4, 4)
        self.hooked = False
        self.collected: list[Tensor] = []

    def collect(self, module: nn.Module, args: Any, output: Tensor) -> None:
        self.collected.append(output)

    def forward(self, x: Tensor) -> Tensor:
        if not self.hooked:
            self.layer.register_forward_hook(self.collect)
            self.hooked = True
        self.collected = []
        out: Tensor = self.other(self.layer(x))
        return out + self.collected[-1]


class Fixed(nn.Module):
    """Fixes its batch size: its code makes a number of it."""

    def forward(self, x: Tensor) -> Tensor:
        return x * float(int(x.shape[0]))


class Counting(nn.Module):
    """Gives something else each time, by what all copies share."""

    calls: list[int] = []  # noqa: RUF012

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append(1)
        return x * len(self.calls)


def output_of(made: Any, x: Tensor) -> Tensor:
    run = made.module() if hasattr(made, "range_constraints") else made
    out: Tensor = run(x)
    return out


@pytest.mark.xfail(
    torch.torch_version.TorchVersion(torch.__version__) < "2.15",
    reason="older torch.export refuses tensors that a forward keeps in an attribute",
    raises=BackendError,
    strict=False,  # some version between 2.9 and 2.15 takes them
)
def test_a_model_that_put_hooks_into_itself_makes_a_graph_after_it_ran() -> None:
    model = Collecting()
    with torch.no_grad():
        right = model(X)
    kept = model.collected
    made = export_graph(model, (X,))
    torch.testing.assert_close(output_of(made, X), right)
    assert made.range_constraints  # any batch size
    assert output_of(made, torch.ones(5, 4)).shape == (5, 4)
    assert model.collected is kept and len(kept) == 1  # its copy's hook, not its own


@BOTH
def test_a_hook_that_changes_a_value_is_in_the_graph_and_an_operation_is_not(
    make: Any,
) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    plain = model(X)
    model[0].register_forward_pre_hook(
        lambda module, args, kwargs: ((args[0] * 3,), kwargs), with_kwargs=True
    )
    right = model(X)
    assert not torch.allclose(plain, right)
    with surgery.ablate(model, "1"):
        made = make(model, (X,))
        model(X)
    torch.testing.assert_close(output_of(made, X), right)


def test_a_graph_that_gives_other_values_is_refused() -> None:
    with pytest.raises(BackendError, match="gives other values than the model"):
        export_graph(Counting(), (X,))


def test_inputs_are_not_marked_for_later_exports() -> None:
    before = dict(vars(X))
    export_graph(nn.Linear(4, 4), (X,))
    assert vars(X) == before


def test_a_batch_size_that_the_code_fixes_is_fixed_in_the_graph() -> None:
    made = export_graph(Fixed(), (X,))
    assert torch.equal(output_of(made, X), X * 2)
    assert not made.range_constraints
