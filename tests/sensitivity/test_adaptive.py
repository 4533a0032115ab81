"""Adaptive levels: on curves that are known, to the tolerance that was asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import surgery
from tests.sensitivity.test_sensitivity import Pair, curves


class Known(nn.Module):
    """Its output is a known function of one parameter, the same for all samples."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.gain.weight)
        self.idle = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.idle.weight)

    def forward(self, x: Tensor) -> Tensor:
        return (12 * (0.6 - self.gain(x))).sigmoid() + 0 * self.idle(x)  # type: ignore[no-any-return]


ONES = torch.ones(40, 1), torch.zeros(40)


def true(level: float) -> float:
    """The output once `gain` is scaled towards zero."""
    return 1 / (1 + math.exp(-12 * (0.6 - (1 - level))))


def output(outputs: Tensor, labels: Tensor) -> Tensor:
    return outputs[:, 0]


def known(data: Pair = ONES, **options: object) -> surgery.Sensitivity:
    return curves(
        Known().eval(),
        data,
        ["gain", "idle"],
        perturb="scale",
        metric=output,
        higher_is_better=False,
        **options,
    )


@pytest.mark.parametrize("tolerance", [0.3, 0.1, 0.05])
def test_the_line_through_the_points_is_as_close_as_was_asked(
    tolerance: float,
) -> None:
    result = known(levels=(1.0,), tolerance=tolerance)
    points = [p for p in result if p.component == "gain"]
    levels = [0.0, *(p.level for p in points)]
    values = [points[0].baseline, *(p.value for p in points)]
    gaps = np.abs(np.diff(values))
    assert gaps.max() <= tolerance
    everywhere = np.linspace(0, 1, 501)
    line = np.interp(everywhere, levels, values)
    assert np.abs(line - [true(x) for x in everywhere]).max() <= tolerance
    assert result.provenance["open"] == {}
    # What does not change is not looked at twice.
    assert [p.level for p in result if p.component == "idle"] == [1.0]


def test_a_finer_tolerance_takes_more_rounds() -> None:
    rounds = [
        known(levels=(1.0,), tolerance=t).provenance["rounds"] for t in (2, 0.3, 0.05)
    ]
    assert rounds[0] == 1 and rounds[0] < rounds[1] < rounds[2]  # type: ignore[operator]


def test_a_step_is_found_as_finely_as_levels_go_and_left_open() -> None:
    class Step(Known):
        def forward(self, x: Tensor) -> Tensor:
            return (self.gain(x) < 0.37).float() + 0 * self.idle(x)  # type: ignore[no-any-return]

    result = curves(
        Step().eval(),
        ONES,
        "gain",
        perturb="scale",
        metric=output,
        higher_is_better=False,
        levels=(1.0,),
        tolerance=0.1,
    )
    (row,) = result.summary()
    assert math.isnan(row.critical)  # of a baseline of 0 there is no part
    assert result.provenance["open"] == {"gain": 1.0}
    before = max(p.level for p in result if p.value == 0)
    after = min(p.level for p in result if p.value == 1)
    assert before < 0.63 < after <= before + 1 / 32
    assert "Not known to the tolerance: gain" in str(result)


def test_bits_are_whole(model: nn.Module, pairs: Pair) -> None:
    result = curves(
        model, pairs, "head", perturb="quantize", levels=(8, 2), tolerance=1e-9
    )
    levels = [p.level for p in result]
    assert levels == [8, 7, 6, 5, 4, 3, 2]
    assert set(result.provenance["open"]) == {"head"}  # type: ignore[arg-type]
