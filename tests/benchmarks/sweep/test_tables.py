"""Bounds: what is met, what is missed, and which way is judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.sweep.config import Bound, load_config
from benchmarks.sweep.memory import Grown, memory_table
from benchmarks.sweep.rows import Measured, Row, kept
from benchmarks.sweep.tables import batch_table, judge
from benchmarks.sweep.timing import Timed, in_turn, pays_after

CASE = "resnet18 leaves 32 px b8"
CONFIG = replace(load_config(), bounds=[Bound(CASE, "tuned", least=3.5, goal=6.0)])


def measured(*ratios: tuple[str, float], flops: float = 1.0) -> Measured:
    rows = [
        Row(CASE, way, 77, seconds=1.0, ratios={"tuned": ratio}, flops=flops)
        for way, ratio in ratios
    ]
    return Measured(CASE, rows, rounds=3, stamp="today")


@pytest.mark.parametrize(
    ("ratio", "verdict", "goal"),
    [
        (3.49, "MISSED", "6.0 not reached"),
        (3.5, "met", "6.0 not reached"),
        (6.0, "met", "6.0 reached"),
    ],
)
def test_a_bound_is_met_from_its_least_on(
    ratio: float, verdict: str, goal: str
) -> None:
    speed, _ = judge(CONFIG, [measured(("tuned", 1.0), ("fused", ratio))])
    assert (speed.verdict, speed.goal) == (verdict, goal)


def test_the_best_of_the_fused_ways_is_judged_and_no_other() -> None:
    found = measured(("replay", 9.0), ("fused", 3.0), ("compiled", 4.0))
    speed, _ = judge(CONFIG, [found])
    assert (speed.what, speed.measured) == ("tuned / compiled", "4.00")


@pytest.mark.parametrize(("flops", "verdict"), [(1.02, "met"), (1.021, "MISSED")])
def test_flops_are_bounded_too(flops: float, verdict: str) -> None:
    judged = judge(CONFIG, [measured(("fused", 4.0), flops=flops)])
    assert judged[-1].verdict == verdict


def test_a_way_that_could_not_be_measured_is_shown_with_the_reason() -> None:
    row = Row(CASE, "captum", 77, why_not="not installed")
    table = batch_table([Measured(CASE, [row], 3, "today")])
    header, _, line = table.splitlines()
    assert "not measured: not installed" in line
    assert line.count("|") == header.count("|")
    assert judge(CONFIG, [Measured(CASE, [row], 3, "today")]) == []


def test_rows_are_kept_and_come_back_in_the_order_asked_for(tmp_path: Path) -> None:
    found = measured(("tuned", 1.0), ("fused", 4.0))
    found.save("ours", tmp_path)
    replace(found, case="another").save("ours", tmp_path)
    cases = [m.case for m in kept("ours", ["another", CASE, "none"], tmp_path)]
    assert cases == ["another", CASE]
    assert kept("ours", [CASE], tmp_path) == [found]


def test_ratios_are_medians_within_rounds() -> None:
    timed = Timed({"tuned": [1.0, 4.0, 9.0], "fused": [1.0, 2.0, 3.0]})
    assert timed.ratio("tuned", "fused") == 2.0


def test_ways_take_turns_and_end_when_the_time_is_up() -> None:
    order: list[str] = []
    ways = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    in_turn(ways, 2, 60.0, lambda way, result: None)
    assert order == ["a", "b", "b", "a"]
    order.clear()
    in_turn(ways, 5, 0.0, lambda way, result: None)
    assert order == ["a", "b"]


def test_what_is_slower_never_pays() -> None:
    assert pays_after(once=10.0, each=1.0, theirs=3.0) == 5.0
    assert pays_after(once=10.0, each=3.0, theirs=3.0) is None


def test_memory_off_the_plan_or_above_the_budget_is_told() -> None:
    good = Grown("good", 100, planned=100, counted=110, first=9, later=100, stacked="")
    off = replace(good, case="off", counted=111)
    above = replace(good, case="above", later=101)
    *_, first, second, third = memory_table([good, off, above], 0.10).splitlines()
    assert "NO" not in first
    assert second.count("NO") == 1 and third.count("NO") == 1
