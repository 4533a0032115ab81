"""Tables: agreement by method, and whether the best one is as good as was asked."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.screening.cases import COMPONENTS, COSTS, LEAST, SEEDS, Case
from benchmarks.screening.measure import Found
from surgery.sensitivity import Method


@dataclass(frozen=True)
class Judged:
    """What a case shows of the bound.

    Attributes:
        case: In words.
        components: How many all of them are.
        best: The best method of those that score all of them.
        median: Its median over seeds.
        verdict: `met`, `MISSED`, or why nothing can be said.
    """

    case: str
    components: int
    best: str
    median: float
    verdict: str


def by_method(found: Sequence[Found]) -> Mapping[Method, list[Found]]:
    """One list per method."""
    methods: dict[Method, list[Found]] = {}
    for one in found:
        methods.setdefault(one.method, []).append(one)
    return methods


def judge(case: Case, found: Sequence[Found]) -> Judged:
    """Whether the best method that scores everything is good enough."""
    medians = {
        method: statistics.median(one.loss for one in mine)
        for method, mine in by_method(found).items()
        if case.asked(method) == case.every
    }
    best = max(medians, key=lambda method: medians[method])
    count = min(one.n for one in found if one.method == best)
    seeds = {one.seed for one in found if one.method == best}
    verdict = "met" if medians[best] >= LEAST else "MISSED"
    if count < COMPONENTS:
        verdict = f"MISSED: fewer than {COMPONENTS} components"
    elif not seeds >= set(SEEDS):
        verdict = f"only {len(seeds)} of {len(SEEDS)} seeds"
    return Judged(case.recipe.title, count, best, medians[best], verdict)


def case_table(case: Case, found: Sequence[Found]) -> str:
    """One line per method."""
    lines = [
        "| method | components | seeds | Spearman, change of loss: median | lowest and "
        "highest | change of accuracy: median | passes | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for method, mine in by_method(found).items():
        losses = [one.loss for one in mine]
        accuracy = statistics.median(one.accuracy for one in mine)
        cost = COSTS[method].format(points=mine[0].points)
        median = f"**{statistics.median(losses):.3f}**"
        lines.append(
            f"| `{method}` | {mine[0].n} | {len(mine)} | {median} | "
            f"{min(losses):.3f} to {max(losses):.3f} | {accuracy:.3f} | {cost} | "
            f"{case.why.get(method, '')} |"
        )
    for method, why in case.why.items():
        if case.asked(method) is None:
            lines.append(f"| `{method}` | – | – | – | – | – | – | {why} |")
    return "\n".join(lines)


def verdict_table(judged: Sequence[Judged]) -> str:
    """Every case against the bound."""
    lines = [
        "| case | components | best method of all of them | median | bound | |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.case} | {one.components} | `{one.best}` | {one.median:.3f} | at least "
        f"{LEAST} | **{one.verdict}** |"
        for one in judged
    ]
    return "\n".join(lines)
