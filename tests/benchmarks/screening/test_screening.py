"""The benchmark of scores: cases are large enough, files are read, bounds judged."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch

from benchmarks.screening.cases import CASES, COMPONENTS, COSTS, SEEDS, Asked, Case
from benchmarks.screening.measure import Found, Subject, measure
from benchmarks.screening.tables import case_table, judge, verdict_table
from surgery.anatomy import record
from surgery.demos._recipes import RESNET
from surgery.sensitivity import Method
from surgery.targets import resolve_each

METHODS: tuple[Method, ...] = get_args(Method)
TINY = Case(
    replace(RESNET, title="tiny", build=CASES[1].recipe.build, size=16, epochs=1),
    Asked(("layer1.*.conv*:channel#*",)),
    {"hessian": Asked(("layer1.*.conv*",)), "influence": None},
    {"hessian": "whole convolutions", "influence": "nothing fits"},
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.recipe.name)
def test_cases_have_enough_components(case: Case) -> None:
    model = case.recipe.build().eval()
    size = case.recipe.size
    seen = record(model, (torch.zeros(2, 1, size, size),), {})
    for method in METHODS:
        asked = case.asked(method)
        targets = [] if asked is None else list(asked.targets)
        found = resolve_each(model, targets, seen, called_only=True) if targets else []
        assert bool(found) == (asked is not None)
        if asked == case.every:
            assert len(found) >= COMPONENTS
        if case.recipe.name == "swin" and asked == case.every:
            branches = [name for name, _ in found if ":branch" in name]
            assert len(branches) == 24 and len(found) == 24 + 56


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Subject, list[Found]]:
    subject = Subject(TINY, 0, tmp_path_factory.mktemp("screening"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("surgery.demos._demo.PROMISED_ACCURACY", 0.0)
        return subject, measure(subject, METHODS)


def test_every_method_that_can_is_compared(
    measured: tuple[Subject, list[Found]],
) -> None:
    subject, found = measured
    assert [one.method for one in found] == [m for m in METHODS if m != "influence"]
    assert {one.n for one in found if one.method != "hessian"} == {16}
    assert all(-1 <= one.loss <= 1 for one in found)
    by_method = {one.method: one for one in found}
    assert by_method["corrected"].points == 2  # 40 samples of 450 for 16 filters
    again = Subject(subject.case, subject.seed, subject.to)
    assert measure(again, METHODS, make=False) == found
    other = Subject(subject.case, 1, subject.to)
    assert measure(other, METHODS, make=False) == []


def test_tables_have_a_line_for_every_method(
    measured: tuple[Subject, list[Found]],
) -> None:
    _, found = measured
    header, rule, *lines = case_table(TINY, found).splitlines()
    assert len(lines) == len(METHODS) == len(COSTS)
    assert {line.count("|") for line in (header, rule, *lines)} == {header.count("|")}
    assert "nothing fits" in lines[-1] and "1 backward, 2 forwards" in "".join(lines)


def found_by(method: Method, losses: dict[int, float], n: int = 80) -> list[Found]:
    return [Found(method, seed, n, None, loss, 0.0) for seed, loss in losses.items()]


@pytest.mark.parametrize(
    ("loss", "n", "seeds", "verdict"),
    [
        (0.9, 80, SEEDS, "met"),
        (0.899, 80, SEEDS, "MISSED"),
        (0.95, 59, SEEDS, "MISSED: fewer than 60 components"),
        (0.95, 80, (0, 1), "only 2 of 5 seeds"),
    ],
)
def test_the_best_method_of_all_components_is_judged_by_its_median(
    loss: float, n: int, seeds: tuple[int, ...], verdict: str
) -> None:
    spread = {seed: loss + 0.01 * (seed - (len(seeds) - 1) / 2) for seed in seeds}
    found = [
        *found_by("taylor", dict.fromkeys(seeds, 0.5), n),
        *found_by("corrected", spread, n),
        *found_by("hessian", dict.fromkeys(seeds, 0.99), 24),  # not of all
    ]
    judged = judge(CASES[0], found)
    assert (judged.best, judged.components, judged.verdict) == ("corrected", n, verdict)
    assert judged.median == pytest.approx(loss)
    assert verdict in verdict_table([judged])
