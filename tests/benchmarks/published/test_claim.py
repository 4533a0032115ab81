"""Criteria: when they hold, when not, and that every paper has some that can fail."""

from __future__ import annotations

import math

import pytest

from benchmarks.published.__main__ import SCRIPTS
from benchmarks.published.claim import Claim, Criterion, Measured, judge
from benchmarks.published.tables import section, summary, table, verdict

LOW = Criterion("loss", "what is lost", "at most", 0.1)
HIGH = Criterion("kept", "what is kept", "at least", 0.9)
CLAIM = Claim("made", "Somebody 2020, Something", "All is well.", "A net.", (LOW, HIGH))


def measured(loss: list[float], kept: list[float]) -> list[Measured]:
    pairs = enumerate(zip(loss, kept, strict=True))
    return [Measured(seed, {"loss": a, "kept": b}) for seed, (a, b) in pairs]


@pytest.mark.parametrize(
    ("values", "holds"),
    [
        ((0.0, 0.1, 0.9), True),  # the median meets the bound
        ((0.0, 0.11, 0.2), False),
        ((0.0, 0.0), False),  # too few seeds to say so
        ((0.0, 0.0, math.nan), False),
        ((), False),
    ],
)
def test_a_criterion_holds_if_the_median_meets_its_bound(
    values: tuple[float, ...], holds: bool
) -> None:
    assert LOW.holds(values) is holds
    mirrored = Criterion("kept", "what is kept", "at least", -0.1)
    assert mirrored.holds([-value for value in values]) is holds


def test_a_claim_holds_if_all_its_criteria_do() -> None:
    good = judge(CLAIM, measured([0.0, 0.1, 0.1], [0.9, 0.9, 1.0]))
    bad = judge(CLAIM, measured([0.0, 0.1, 0.1], [0.9, 0.89, 0.8]))
    few = judge(CLAIM, measured([0.0, 0.1], [0.9, 0.9]))
    assert verdict(good) == "holds"
    assert verdict(bad) == "DOES NOT HOLD"
    assert verdict(few).startswith("not judged")


def test_a_figure_that_was_not_measured_does_not_hold() -> None:
    found = [Measured(seed, {"loss": 0.0}) for seed in range(3)]
    loss, kept = judge(CLAIM, found)
    assert loss.holds and not kept.holds


def test_tables_show_each_seed_the_median_and_what_does_not_hold() -> None:
    found = measured([0.0, 0.1, 0.3], [0.5, 0.95, 0.6])
    _, _, loss, kept = table(judge(CLAIM, found), [0, 1, 2]).splitlines()
    assert loss == (
        "| what is lost | at most 0.1 | 0.000 | 0.100 | 0.300 | 0.100 | **holds** |"
    )
    assert kept.endswith("| 0.600 | **DOES NOT HOLD** |")
    few = table(judge(CLAIM, found[:1]), [0]).splitlines()[2]
    assert few.endswith("| 0.000 | 0.000 | **not judged, fewer than 3 seeds** |")
    assert "1 of 2" in summary([(CLAIM, found)])
    text = section(CLAIM, found, "plots/made.png")
    assert "DOES NOT HOLD" in text and "(plots/made.png)" in text


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_first_criterion_is_that_the_network_has_learned(name: str) -> None:
    first = SCRIPTS[name].claim.criteria[0]
    assert first.holds([1.0] * 3) and not first.holds([0.1] * 3)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_criterion_can_fail(name: str) -> None:
    for criterion in SCRIPTS[name].claim.criteria:
        wrong = -1.01 if criterion.way == "at least" else 1.01
        assert not criterion.holds([wrong] * 3), criterion.says
