"""`python -m benchmarks.conformance`: check the whole zoo, write RESULTS.md."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from benchmarks.conformance.fused.results import TITLE as FUSED
from benchmarks.conformance.sources import CACHE, HERE, fingerprint
from benchmarks.conformance.zoo.cases import cases
from benchmarks.conformance.zoo.check import CAP, check
from benchmarks.conformance.zoo.farm import Farm, costs, kept
from benchmarks.conformance.zoo.report import Report, read
from benchmarks.conformance.zoo.results import written
from benchmarks.conformance.zoo.specimen import Case
from benchmarks.sections import read_section, write_section

COSTS = HERE / "zoo" / "seconds.json"
UNKNOWN = 60.0
"""Seconds that a model is taken to need until it has been measured."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the chosen models; 1 if anything failed."""
    options = _parser().parse_args(arguments)
    known = cases()
    for pattern in options.models:
        if not any(fnmatch(name, pattern) for name in known):
            print(f"no model is called {pattern}; --list shows all names")
            return 2
    chosen = [c for c in known.values() if _wanted(c, options.models)]
    if options.list:
        for case in chosen:
            print(f"{case.name:45} {case.group}")
        return 0
    reports = _reports(chosen, options)
    if not options.models:
        _write(reports, options)
    return _told(reports)


def _write(reports: Sequence[Report], options: argparse.Namespace) -> None:
    """RESULTS.md, with what earlier code gave where nothing newer is."""
    names = {report.model for report in reports}
    folder = Path(options.folder)
    older = [read(f) for f in sorted(folder.glob("*.json")) if f.stem not in names]
    order = {name: i for i, name in enumerate(cases())}
    shown = sorted(
        (r for r in (*reports, *older) if r.model in order),
        key=lambda report: order[report.model],
    )
    missing = [name for name in order if name not in {r.model for r in shown}]
    text = written(shown, options.jobs, fingerprint("zoo"), missing)
    page = HERE / "RESULTS.md"
    fused = read_section(FUSED, page)
    page.write_text(text, "utf-8")
    if fused:
        write_section(FUSED, fused, page)
    seconds = costs(folder, COSTS) | {r.model: round(r.took, 1) for r in shown}
    COSTS.write_text(json.dumps(seconds, indent=0) + "\n", encoding="utf-8")
    print("wrote benchmarks/conformance/RESULTS.md")


def _reports(chosen: Sequence[Case], options: argparse.Namespace) -> list[Report]:
    folder = Path(options.folder)
    sources = fingerprint("zoo")
    found = {} if options.fresh else kept(chosen, folder, sources)
    if found:
        print(f"kept from before: {len(found)} models (--fresh does them again)")
    before = costs(folder, COSTS)
    todo = [case for case in chosen if case.name not in found]
    # Two processes end together if the longest come first; in a limited time the
    # shortest first give the most models.
    limited = options.minutes is not None
    sign = 1 if limited else -1
    todo.sort(key=lambda case: sign * before.get(case.name, UNKNOWN))
    left = {case.name: before.get(case.name, UNKNOWN) for case in todo}
    began = time.monotonic()

    def done(report: Report) -> None:
        found[report.model] = report
        left.pop(report.model, None)
        minutes = sum(left.values()) / options.jobs / 60
        print(
            f"{time.monotonic() - began:6.0f} s  {len(found):3} of {len(chosen)}  "
            f"{report.model}: {len(report.outcomes)} components in "
            f"{report.took:.0f} s, {len(report.failures)} failures, "
            f"{len(report.misses)} misses; about {minutes:.0f} minutes to go",
            flush=True,
        )

    farm = Farm(folder, sources, options.jobs, options.cap, done, check)
    farm.run(todo, 60 * options.minutes if limited else None)
    return [found[case.name] for case in chosen if case.name in found]


def _told(reports: Sequence[Report]) -> int:
    for report in reports:
        for where, fault in report.failures:
            print(f"FAILED {report.model} {where}:\n    {fault[:400]}")
        for where, fault in report.misses:
            print(f"MISSED {report.model} {where}:\n    {fault[:400]}")
    failures = sum(len(report.failures) for report in reports)
    outcomes = sum(len(report.outcomes) for report in reports)
    print(f"{len(reports)} models, {outcomes:,} components, {failures} failures")
    return 1 if failures else 0


def _wanted(case: Case, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatch(case.name, pattern) for pattern in patterns)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conformance")
    parser.add_argument(
        "--models",
        nargs="+",
        default=[],
        metavar="NAME",
        help="only these, such as tv.resnet18 or 'hf.*'",
    )
    parser.add_argument("--list", action="store_true", help="show names, do nothing")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument(
        "--cap", type=float, default=CAP, help="seconds a model may take (900)"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        help="begin no model after so long; the shortest come first then",
    )
    parser.add_argument(
        "--fresh", action="store_true", help="forget results kept from before"
    )
    parser.add_argument(
        "--folder", default=str(CACHE / "zoo"), help="where results are kept"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
