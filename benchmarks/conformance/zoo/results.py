"""RESULTS.md: what came out, by family, with every cause."""

from __future__ import annotations

import datetime
import platform
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.conformance.zoo.report import Report
from benchmarks.conformance.zoo.tables import grouped, of, table

COMMAND = "make conformance"
PACKAGES = ("torch-surgery", "torch", "timm", "torchvision", "transformers", "numpy")
JOINS = ("add", "mul", "cat", "stack")


def written(
    reports: Sequence[Report], jobs: int, sources: str, missing: Sequence[str] = ()
) -> str:
    """The text of RESULTS.md.

    Args:
        reports: What came out.
        jobs: How many processes made it.
        sources: Fingerprint of the present code; other reports are of an earlier state.
        missing: Models on which there is nothing.
    """
    groups = dict.fromkeys(report.group for report in reports)
    parts = [
        "# Conformance: results",
        _summary(reports),
        "\n".join([*_environment(reports, jobs), *_states(reports, sources, missing)]),
        "What a column means: [README](README.md).",
        "## Residual adds, counted",
        _adds(reports),
    ]
    for group in groups:
        members = [report for report in reports if report.group == group]
        parts += [f"## {group[0].upper()}{group[1:]}", _models(members)]
    parts += [
        "## Refused or without change, by cause",
        _causes(reports),
        "## How excised components were built in",
        _means(reports),
        "## Graph and excision: every miss",
        _misses(reports),
        "## Symbolic traces: none, or other names",
        _traces(reports),
        "## Failures",
        _failures(reports),
    ]
    return "\n\n".join(parts) + "\n"


def _summary(reports: Sequence[Report]) -> str:
    outcomes = [o for report in reports for o in report.outcomes]
    verdicts = Counter(outcome.verdict for outcome in outcomes)
    clean = sum(not report.failures for report in reports)
    kinds = Counter(outcome.kind for outcome in outcomes)
    excised = [e for report in reports for e in report.excised]
    lines = [
        f"- **{of(clean, len(reports))} models without a failure**: every component "
        "operated on with `zero`, its effect proved or the cause why not checked, "
        "everything restored.",
        f"- {len(outcomes):,} components: {verdicts['effect']:,} with proof of effect, "
        f"{verdicts['no change']:,} without change and {verdicts['refused']:,} refused "
        f"for a cause that was found true, {verdicts['failure']:,} failures, "
        f"{verdicts['not reached']:,} not reached in time.",
        "- By kind: " + ", ".join(f"{n:,} {kind}" for kind, n in kinds.most_common()),
        f"- All branches cut at once: {_at_once(reports, 'branch')}; all skips: "
        f"{_at_once(reports, 'skip')}.",
    ]
    for mechanism in ("export", "fx"):
        views = [v for r in reports for v in r.graphs if v.mechanism == mechanism]
        lines.append(
            f"- Graph by {mechanism}: {of(sum(v.built for v in views), len(views))} "
            f"models, names agree in {of(sum(v.agrees for v in views), len(views))}."
        )
    lines += [
        f"- Excised: {of(sum(map(_excises, reports)), len(reports))} models in all "
        f"that was tried, {of(sum(map(_equal, excised)), len(excised))} components "
        "equal to the operation that can be undone.",
        f"- Excision and a graph: "
        f"{of(sum(_excises(r) and _has_graph(r) for r in reports), len(reports))} "
        "models.",
    ]
    return "\n".join(lines)


def _at_once(reports: Sequence[Report], kind: str) -> str:
    found = [a for r in reports for a in r.at_once if a.kind == kind and a.components]
    good = sum(not a.fault for a in found)
    return f"{of(good, len(found))} models that have any"


def _excises(report: Report) -> bool:
    return bool(report.excised) and all(map(_equal, report.excised))


def _equal(excised: object) -> bool:
    return getattr(excised, "equal", "") in ("bitwise", "close")


def _has_graph(report: Report) -> bool:
    return any(view.built and view.agrees for view in report.graphs)


def _environment(reports: Sequence[Report], jobs: int) -> list[str]:
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    hours = sum(report.took for report in reports) / 3600
    return [
        f"- `{COMMAND}`, {today}, {jobs} processes of one thread each, "
        f"{hours:.1f} hours of them in all",
        f"- Python {platform.python_version()}, {versions}",
        f"- {platform.system()} {platform.machine()}, {_processor()}",
    ]


def _states(
    reports: Sequence[Report], sources: str, missing: Sequence[str]
) -> list[str]:
    """Which state of the code the rows are of, if not all are of the present one."""
    counts = Counter(report.sources for report in reports)
    lines = [
        f"- Code: {n} models with the present state ({state})"
        if state == sources
        else f"- Code: {n} models with an earlier state ({state})"
        for state, n in counts.most_common()
    ]
    if missing:
        lines.append(f"- Not checked ({len(missing)}): {', '.join(missing)}")
    return lines


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or "unknown processor"


def _adds(reports: Sequence[Report]) -> str:
    rows = [
        (report.model, report.expected_adds, report.adds)
        for report in reports
        if report.expected_adds is not None
    ]
    return table(("model", "residual adds", "found"), rows)


def _models(reports: Sequence[Report]) -> str:
    header = (
        "family",
        "model",
        "input",
        "components",
        "modules",
        "skips",
        "joins",
        "gates",
        "functions",
        "heads",
        "other",
        "effect",
        "reached",
        "no change",
        "refused",
        "failures",
        "at once",
        "export",
        "fx",
        "excised",
        "seconds",
        "code",
    )
    return table(header, [_model(report) for report in reports])


def _model(report: Report) -> Sequence[object]:
    kinds = Counter(outcome.kind for outcome in report.outcomes)
    verdicts = Counter(outcome.verdict for outcome in report.outcomes)
    modules = kinds["module"] + kinds["container"] + kinds["uncalled"]
    joins = sum(kinds[kind] for kind in JOINS)
    known = kinds["skip"] + kinds["branch"] + kinds["gate"]
    known += kinds["function"] + kinds["head"] + modules + joins
    equal = sum(map(_equal, report.excised))
    views = {view.mechanism: view for view in report.graphs}
    return (
        report.family,
        report.model,
        report.input,
        len(report.outcomes),
        modules,
        kinds["skip"],
        joins,
        kinds["gate"],
        kinds["function"],
        kinds["head"],
        len(report.outcomes) - known,
        verdicts["effect"],
        sum(outcome.reached for outcome in report.outcomes),
        verdicts["no change"],
        verdicts["refused"],
        len(report.failures),
        "".join("-" if a.fault else "+" for a in report.at_once if a.components),
        *(_view(views, mechanism) for mechanism in ("export", "fx")),
        f"{equal}/{len(report.excised)}",
        round(report.took),
        report.sources[:6],
    )


def _view(views: object, mechanism: str) -> str:
    assert isinstance(views, dict)
    view = views.get(mechanism)
    if view is None or not view.built:
        return "none"
    return "agrees" if view.agrees else "differs"


def _causes(reports: Sequence[Report]) -> str:
    counts = Counter(
        (o.verdict, o.kind, o.cause)
        for report in reports
        for o in report.outcomes
        if o.verdict in ("no change", "refused")
    )
    rows = [(*key, counts[key]) for key in sorted(counts)]
    return table(("verdict", "kind", "cause", "components"), rows)


def _means(reports: Sequence[Report]) -> str:
    counts = Counter(
        (e.kind, e.means or "refused", e.equal or "no")
        for report in reports
        for e in report.excised
    )
    rows = [(*key, counts[key]) for key in sorted(counts)]
    return table(("kind", "means", "equal", "components"), rows)


def _misses(reports: Sequence[Report]) -> str:
    return grouped((r.model, where, why) for r in reports for where, why in r.misses)


def _traces(reports: Sequence[Report]) -> str:
    causes: dict[str, list[str]] = {}
    for report in reports:
        for view in report.graphs:
            if view.mechanism == "fx" and not (view.built and view.agrees):
                why = "other names" if view.built else _without_model(view.cause)
                causes.setdefault(why, []).append(report.model)
    rows = [
        (len(models), why, ", ".join(models))
        for why, models in sorted(causes.items(), key=lambda row: -len(row[1]))
    ]
    return table(("models", "why", "which"), rows) if rows else "None."


def _without_model(cause: str) -> str:
    """The cause in the exporter's words, without the model's class or the advice."""
    return cause.replace("\n", " ").partition(" torch.fx: ")[2].partition("; use ")[0]


def _failures(reports: Sequence[Report]) -> str:
    return grouped((r.model, where, why) for r in reports for where, why in r.failures)
