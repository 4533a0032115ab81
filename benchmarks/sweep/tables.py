"""Tables: rows as Markdown, and what they show of the bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.sweep.config import Bound, Config
from benchmarks.sweep.rows import Measured, Row

OURS = ("fused", "compiled", "cudagraph")
"""Ways that bounds are about; in a folder those of a ranking by them."""

BATCH = (
    "| case | parts | way | s per batch | tuned / way | FLOPs / least | of bound "
    "| once, s | pays after | outputs | chose |"
)
FOLDER = (
    "| case | parts | way | s per batch | usual / way | tuned / way | once, s "
    "| pays after | usual / way, whole folder | accuracies |"
)


@dataclass(frozen=True)
class Judged:
    """What a row shows of a bound.

    Attributes:
        case: Of the row.
        what: What is bounded, in words.
        bound: In words.
        measured: In words.
        verdict: `met` or `MISSED`.
        goal: `reached`, `not reached`, or empty where there is none.
    """

    case: str
    what: str
    bound: str
    measured: str
    verdict: str
    goal: str = ""


def batch_table(found: Sequence[Measured]) -> str:
    """Rows of one batch in memory."""
    lines = [BATCH, _rule(BATCH)]
    for row in (row for measured in found for row in measured.rows):
        if row.why_not:
            lines.append(f"| {row.case} | {row.parts} | {row.way} | {_refused(row, 8)}")
            continue
        lines.append(
            f"| {row.case} | {row.parts} | {row.way} | {row.seconds:.3f} | "
            f"**{row.ratios['tuned']:.2f}** | {_number(row.flops, 2)} | "
            f"{_number(row.bound, 2)} | {row.once:.1f} | {_batches(row)} | "
            f"{row.agrees} | {row.note} |"
        )
    return "\n".join(lines)


def folder_table(found: Sequence[Measured]) -> str:
    """Rows of a ranking over files."""
    lines = [FOLDER, _rule(FOLDER)]
    for row in (row for measured in found for row in measured.rows):
        lines.append(
            f"| {row.case} | {row.parts} | {row.way} | {row.seconds:.3f} | "
            f"**{row.ratios['usual']:.2f}** | {row.ratios['tuned']:.2f} | "
            f"{row.once:.1f} | {_batches(row)} | {row.whole['usual']:.2f} | "
            f"{row.agrees} |"
        )
    return "\n".join(lines)


def judge(config: Config, found: Sequence[Measured]) -> list[Judged]:
    """Every bound that what was measured says something about."""
    judged: list[Judged] = []
    for measured in found:
        rows = [row for row in measured.rows if not row.why_not]
        mine = [row for row in rows if row.way.removeprefix("rank, ") in OURS]
        for bound in config.bounds:
            if bound.covers(measured.case) and mine:
                judged.append(_speed(bound, mine))
        way, most = config.most_flops
        for row in rows:
            if row.way == way and row.flops is not None:
                verdict = "met" if row.flops <= most else "MISSED"
                judged.append(
                    Judged(
                        row.case,
                        f"{way}: FLOPs / least",
                        f"at most {most}",
                        f"{row.flops:.3f}",
                        verdict,
                    )
                )
    return judged


def bounds_table(judged: Sequence[Judged]) -> str:
    """What was shown, bound by bound."""
    lines = ["| case | what | bound | measured | | goal |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {j.case} | {j.what} | {j.bound} | {j.measured} | **{j.verdict}** | "
        f"{j.goal} |"
        for j in judged
    ]
    return "\n".join(lines)


def _speed(bound: Bound, rows: Sequence[Row]) -> Judged:
    best = max(rows, key=lambda row: row.ratios[bound.against])
    ratio = best.ratios[bound.against]
    goal = ""
    if bound.goal is not None:
        reached = "reached" if ratio >= bound.goal else "not reached"
        goal = f"{bound.goal} {reached}"
    return Judged(
        best.case,
        f"{bound.against} / {best.way}",
        f"at least {bound.least}",
        f"{ratio:.2f}",
        "met" if ratio >= bound.least else "MISSED",
        goal,
    )


def _rule(header: str) -> str:
    return "|" + "---|" * (header.count("|") - 1)


def _refused(row: Row, cells: int) -> str:
    why = row.why_not.replace("|", "/").replace("\n", " ")
    return f"not measured: {why} |" + " |" * (cells - 1)


def _number(value: float | None, places: int) -> str:
    return "" if value is None else f"{value:.{places}f}"


def _batches(row: Row) -> str:
    if row.pays is None:
        return "" if row.way in ("tuned", "usual") else "never"
    return f"{row.pays:.0f}" if row.once else "0"
