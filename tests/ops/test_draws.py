"""Random numbers drawn before an operation acts: those that it would draw itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from surgery.ablation import Variant
from surgery.anatomy import record
from surgery.errors import BackendError
from surgery.ops import (
    AbstractOutputOperation,
    Clock,
    Draws,
    Firing,
    Noise,
    Replacement,
    Resample,
    drawn_before,
    sweeping,
)
from surgery.targets import resolve_each

X = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))


class Drawing:
    """A model with an operation in effect that draws."""

    def __init__(self, operation: AbstractOutputOperation) -> None:
        torch.manual_seed(0)
        act = nn.ReLU()
        self.model = nn.Sequential(nn.Linear(6, 4), act, nn.Linear(4, 4), act).eval()
        clock = Clock()
        clock.watch(self.model)
        rows = resolve_each(self.model, ["0", "2", "1@1"], record(self.model, (X,), {}))
        for _, found in rows:
            Variant(self.model, found, operation, clock, seed=7).apply()

    @torch.no_grad()
    def forward(self, number: int, draws: Draws | None = None) -> Tensor:
        with sweeping(number):
            if draws is None:
                return self.model(X)  # type: ignore[no-any-return]
            draws.refill()
            with drawn_before(draws):
                return self.model(X)  # type: ignore[no-any-return]


OPERATIONS = [Noise(), Noise(std=2.0, relative=False), Resample()]


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_what_is_drawn_before_is_what_would_be_drawn(
    operation: AbstractOutputOperation,
) -> None:
    drawing, draws = Drawing(operation), Draws()
    given = [drawing.forward(number, draws) for number in (0, 1, 2)]
    assert all(torch.equal(x, drawing.forward(i)) for i, x in enumerate(given))
    assert not torch.equal(given[0], given[1])


def test_numbers_stay_where_they_are() -> None:
    drawing, draws = Drawing(Noise()), Draws()
    drawing.forward(0, draws)
    before = [x.data_ptr() for kept in draws._kept.values() for x in kept.tensors]
    drawing.forward(1, draws)
    after = [x.data_ptr() for kept in draws._kept.values() for x in kept.tensors]
    assert len(draws) == 3
    assert before == after


def test_donors_that_are_alike_everywhere_are_drawn_once() -> None:
    drawing, draws = Drawing(Resample()), Draws()
    drawing.forward(0, draws)
    assert len(draws) == 1


class Secretive(AbstractOutputOperation):
    """Draws in no other way than while it acts."""

    mode = "constant"
    random = True

    def apply(self, output: Tensor, firing: Firing) -> Replacement:
        generator: Any = torch.Generator().manual_seed(firing.seed)
        return Replacement(torch.rand(output.shape, generator=generator))


def test_an_operation_that_draws_while_it_acts_is_refused() -> None:
    drawing = Drawing(Secretive())
    drawing.forward(0)
    with pytest.raises(BackendError, match="draws while it acts"):
        drawing.forward(0, Draws())
