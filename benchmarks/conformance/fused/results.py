"""The section of RESULTS.md on the fused program."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Sequence
from importlib.metadata import version

from benchmarks.conformance.zoo.outcome import Fused
from benchmarks.conformance.zoo.report import Report
from benchmarks.conformance.zoo.tables import grouped, of, table

TITLE = "Through the fused program"
PACKAGES = ("torch", "timm", "torchvision", "transformers")


def written(reports: Sequence[Report], command: str, missing: int) -> str:
    """The section's text.

    Args:
        reports: What came out.
        command: What made them.
        missing: How many models of the zoo are not among them.
    """
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return "\n\n".join(
        [
            f"`{command}`, {today}, one thread, Python {platform.python_version()}, "
            f"{versions}.",
            _summary(reports, missing),
            _models(reports),
            "Refused, and why:",
            grouped(
                (r.model, f.how, f.refused) for r, f in _each(reports) if f.refused
            ),
            "Failures:",
            grouped(
                (r.model, where, why) for r in reports for where, why in r.failures
            ),
        ]
    )


def _each(reports: Sequence[Report]) -> list[tuple[Report, Fused]]:
    return [(report, fused) for report in reports for fused in report.fused]


def _summary(reports: Sequence[Report], missing: int) -> str:
    refused = sum(any(f.refused for f in report.fused) for report in reports)
    clean = sum(not report.failures for report in reports)
    lines = [
        f"- {of(clean, len(reports))} models without a failure, {refused} of them "
        f"refused; {missing} models of the zoo not checked.",
    ]
    for how in ("one after the other", "stacked"):
        found = [f for _, f in _each(reports) if f.how == how and not f.refused]
        trials = sum(f.trials - f.left_out for f in found)
        equal = sum(f.bitwise for f in found)
        left = sum(f.left_out for f in found)
        lines.append(
            f"- {how.capitalize()}: {of(equal, trials)} trials bit for bit as in a "
            f"forward of their own, {sum(f.faulty for f in found)} further off than "
            f"promised, {left} left to run by themselves; the program's baseline is "
            f"bitwise the model's in {of(sum(f.exact for f in found), len(found))} "
            "models" + _stacked(how, found) + "."
        )
    return "\n".join(lines)


def _stacked(how: str, found: Sequence[Fused]) -> str:
    if how != "stacked":
        return ""
    return f", of which the planner stacked in {sum(f.stack > 1 for f in found)}"


def _models(reports: Sequence[Report]) -> str:
    header = (
        "model",
        "input",
        "trials",
        "graph bitwise",
        "claims bits",
        "bitwise, one after the other",
        "stack",
        "bitwise, stacked",
        "largest difference",
        "left out",
        "seconds",
    )
    rows: list[Sequence[object]] = []
    for report in reports:
        by = {f.how: f for f in report.fused if not f.refused}
        alone, stacked = by.get("one after the other"), by.get("stacked")
        if alone is None or stacked is None:
            continue
        rows.append(
            (
                report.model,
                report.input,
                alone.trials,
                "yes" if alone.exact else "no",
                {None: "", True: "yes", False: "no"}[alone.claimed],
                alone.bitwise,
                stacked.stack,
                stacked.bitwise,
                f"{max(alone.worst, stacked.worst):.0e}",
                max(alone.left_out, stacked.left_out),
                round(report.took),
            )
        )
    return table(header, rows)
