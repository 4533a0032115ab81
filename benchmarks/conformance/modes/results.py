"""RESULTS.md: what came out, as tables, with the environment it came out in."""

from __future__ import annotations

import datetime
import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.conformance.modes.outcome import Outcome, Verdict
from benchmarks.conformance.modes.run import Report

COMMAND = "python -m benchmarks.conformance.modes"
PACKAGES = ("torch-surgery", "torch", "timm", "transformers", "numpy")


def written(reports: Sequence[Report], jobs: int) -> str:
    """The text of RESULTS.md."""
    failures = sum(len(report.failures) for report in reports)
    outcomes = [o for report in reports for o in report.outcomes]
    parts = [
        "# Conformance: results",
        f"{len(outcomes):,} pairs of a called module and a mode in {len(reports)} "
        f"models; **{failures} failures**. What a column means: [README](README.md).",
        "\n".join(_environment(jobs)),
        "## By model",
        _models(reports),
        "## By mode",
        _modes(outcomes),
        "## Refused, by cause",
        _causes(outcomes, "refused"),
        "## No change, by cause",
        _causes(outcomes, "no change"),
        "## Modules that the forward never calls",
        _uncalled(reports),
        "## Failures",
        _failures(reports),
    ]
    return "\n\n".join(parts) + "\n"


def _environment(jobs: int) -> list[str]:
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return [
        f"- `{COMMAND}`, {today}, {jobs} processes of one thread each",
        f"- Python {platform.python_version()}, {versions}",
        f"- {platform.system()} {platform.machine()}, {_processor()}",
    ]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or "unknown processor"


def _models(reports: Sequence[Report]) -> str:
    header = (
        "model",
        "input",
        "modules",
        "called",
        "pairs",
        "effect",
        "reached the model's output",
        "refused",
        "no change",
        "failures",
        "not finite",
        "seconds",
    )
    rows: list[Sequence[object]] = []
    for report in reports:
        counts = Counter(outcome.verdict for outcome in report.outcomes)
        row = (
            report.model,
            f"2 x {report.input}",
            report.modules,
            report.called,
            len(report.outcomes),
            counts["effect"],
            sum(outcome.reached for outcome in report.outcomes),
            counts["refused"],
            counts["no change"],
            len(report.failures),
            sum(not outcome.finite for outcome in report.outcomes),
            round(report.seconds),
        )
        rows.append(row)
    sums = [_total(row[i] for row in rows) for i in range(len(header))]
    return _table(header, [*rows, ("**all**", "", *sums[2:])])


def _modes(outcomes: Iterable[Outcome]) -> str:
    counts = Counter((outcome.mode, outcome.verdict) for outcome in outcomes)
    verdicts: tuple[Verdict, ...] = ("effect", "refused", "no change", "failure")
    rows = [
        (mode, *(counts[mode, verdict] for verdict in verdicts))
        for mode in dict.fromkeys(mode for mode, _ in counts)
    ]
    return _table(("mode", *verdicts), rows)


def _causes(outcomes: Iterable[Outcome], verdict: str) -> str:
    counts = Counter((o.mode, o.cause) for o in outcomes if o.verdict == verdict)
    rows = [(mode, cause, counts[mode, cause]) for mode, cause in sorted(counts)]
    return _table(("mode", "cause", "pairs"), rows)


def _uncalled(reports: Sequence[Report]) -> str:
    rows: list[Sequence[object]] = []
    for report in reports:
        counts = Counter(outcome.verdict for outcome in report.uncalled)
        stands = counts["effect"] + counts["no change"]
        if report.uncalled:
            rows.append((report.model, counts["refused"], stands))
    return _table(("model", "refused: never called", "stands for its children"), rows)


def _failures(reports: Sequence[Report]) -> str:
    rows = [
        (report.model, o.component, o.mode, o.cause.replace("\n", " ")[:300])
        for report in reports
        for o in report.failures
    ]
    return _table(("model", "module", "mode", "fault"), rows) if rows else "None."


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _total(column: Iterable[object]) -> int:
    return sum(value for value in column if isinstance(value, int))


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")
