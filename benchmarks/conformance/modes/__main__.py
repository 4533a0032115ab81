"""`python -m benchmarks.conformance.modes`: check the models, write RESULTS.md."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from benchmarks.conformance.modes.models import ZOO
from benchmarks.conformance.modes.results import written
from benchmarks.conformance.modes.run import Report, check_model, load, save, say
from benchmarks.conformance.sources import CACHE, fingerprint

HERE = Path(__file__).parent
FOLDER = CACHE / "modes"
LONGEST_FIRST = ("densenet121", "swin_tiny_patch4_window7_224", "resnet50")


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the chosen models; 1 if anything failed."""
    options = _parser().parse_args(arguments)
    unknown = sorted(set(options.models) - set(ZOO))
    if unknown:
        print(f"no such model: {', '.join(unknown)}; there are {', '.join(ZOO)}")
        return 2
    names = [name for name in ZOO if not options.models or name in options.models]
    reports = _reports(names, options.jobs, options.fresh)
    if not options.models:
        (HERE / "RESULTS.md").write_text(written(reports, options.jobs), "utf-8")
        print("wrote benchmarks/conformance/modes/RESULTS.md")
    for report in reports:
        for failure in report.failures:
            print(f"FAILED {report.model} {failure.component} {failure.mode}:")
            print(f"    {failure.cause}")
    failures = sum(len(report.failures) for report in reports)
    print(f"{sum(len(r.outcomes) for r in reports):,} pairs, {failures} failures")
    return 1 if failures else 0


def _reports(names: Sequence[str], jobs: int, fresh: bool) -> list[Report]:
    sources = fingerprint("modes")
    done = {} if fresh else {n: load(n, FOLDER, sources) for n in names}
    found = {name: report for name, report in done.items() if report is not None}
    if found:
        print(f"kept from before: {', '.join(found)} (--fresh does them again)")
    todo = [name for name in names if name not in found]
    todo.sort(key=lambda n: LONGEST_FIRST.index(n) if n in LONGEST_FIRST else 99)
    # Every process computes with one thread: bits must not depend on the machine.
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        running: dict[Future[Report], str] = {
            pool.submit(check_model, name, sources, say): name for name in todo
        }
        try:
            for future in as_completed(running):
                report = future.result()
                save(report, FOLDER)
                found[report.model] = report
                print(
                    f"{report.model}: {len(report.outcomes):,} pairs in "
                    f"{report.seconds:.0f} s, {len(report.failures)} failures",
                    flush=True,
                )
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [found[name] for name in names]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conformance.modes")
    parser.add_argument(
        "--models", nargs="+", default=[], metavar="NAME", help="only these models"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument(
        "--fresh", action="store_true", help="forget results kept from before"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
