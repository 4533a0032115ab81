"""Tables: every criterion beside what was measured, as Markdown."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence

from benchmarks.published.claim import NEEDED, Claim, Judged, Measured, judge


def summary(claims: Sequence[tuple[Claim, Sequence[Measured]]]) -> str:
    """One row for each paper."""
    lines = ["| paper | claim | criteria met | |", "|---|---|---|---|"]
    for claim, found in claims:
        judged = judge(claim, found)
        met = f"{sum(one.holds for one in judged)} of {len(judged)}" if found else ""
        paper, year, _ = re.split(r"(\d{4})", claim.paper, maxsplit=1)
        lines.append(
            f"| {paper}{year} | {claim.says} | {met} | **{verdict(judged)}** |"
        )
    return "\n".join(lines)


def section(claim: Claim, found: Sequence[Measured], plot: str) -> str:
    """What was claimed, done and measured of one paper, and its plot."""
    judged = judge(claim, found)
    parts = [
        f"### {claim.name}: {verdict(judged)}",
        f"{claim.paper}. {claim.says}",
        f"Here: {claim.here}",
        table(judged, [m.seed for m in found]),
        *([claim.remark] if claim.remark else []),
        f"![{claim.name}]({plot})",
    ]
    return "\n\n".join(parts)


def table(judged: Sequence[Judged], seeds: Sequence[int]) -> str:
    """A row for each criterion."""
    columns = [*(f"seed {seed}" for seed in seeds), "median"]
    lines = [
        f"| figure | criterion | {' | '.join(columns)} | |",
        f"|---|---|{'---|' * len(columns)}---|",
    ]
    for one in judged:
        asked = one.criterion
        values = [*one.values, statistics.median(one.values)] if one.values else [None]
        cells = " | ".join("" if v is None else _number(v) for v in values)
        lines.append(
            f"| {asked.says} | {asked.way} {asked.bound:g} | {cells} | "
            f"**{verdict([one])}** |"
        )
    return "\n".join(lines)


def verdict(judged: Sequence[Judged]) -> str:
    """Of all criteria together."""
    if any(len(one.values) < NEEDED for one in judged):
        return f"not judged, fewer than {NEEDED} seeds"
    return "holds" if all(one.holds for one in judged) else "DOES NOT HOLD"


def _number(value: float) -> str:
    return f"{value:.1e}" if 0 < abs(value) < 1e-4 else f"{value:.3f}"
