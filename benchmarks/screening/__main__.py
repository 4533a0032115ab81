"""Trains, takes out, scores, and writes how scores and exact effects agree."""

from __future__ import annotations

import argparse
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import timm
import torch

from benchmarks.screening.cases import CASES, SEEDS
from benchmarks.screening.measure import Found, Subject, measure
from benchmarks.screening.tables import Judged, case_table, judge, verdict_table
from benchmarks.sections import RESULTS, write_section
from surgery.sensitivity import Method

TITLE = "Scores from one pass against exact effects"
CACHE = Path(".cache/screening")


def main() -> None:
    """Measure what is not in files yet, and write the tables of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", default="", help="part of a model's name")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument(
        "--tables", action="store_true", help="write what files have, measure nothing"
    )
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of files")
    parser.add_argument("--page", type=Path, default=RESULTS, help="what is written")
    options = parser.parse_args()
    torch.set_num_threads(1)
    # With all dials near 1 activations are so small that a CPU takes long over them.
    torch.set_flush_denormal(True)
    methods: tuple[Method, ...] = get_args(Method)
    parts: list[str] = []
    judged: list[Judged] = []
    for case in CASES:
        if options.case not in case.recipe.name:
            continue
        found: list[Found] = []
        for seed in options.seeds:
            subject = Subject(case, seed, options.cache)
            found += measure(subject, methods, make=not options.tables)
            print(f"{case.recipe.title}: {len(found)} scores", flush=True)
        if not found:
            raise SystemExit(f"no files of {case.recipe.title} in {options.cache}")
        parts.append(f"{case.recipe.title}:\n\n{case_table(case, found)}")
        judged.append(judge(case, found))
        print(parts[-1], flush=True)
    verdicts = verdict_table(judged)
    print(verdicts)
    if len(judged) == len(CASES) and options.seeds == list(SEEDS):
        section = "\n\n".join([_stamp(), *parts, "What must be shown:", verdicts, NOTE])
        write_section(TITLE, section, options.page)


def _stamp() -> str:
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, CPU {platform.machine()}, torch "
        f"{torch.__version__}, timm {timm.__version__}, Python "
        f"{platform.python_version()}; `python -m benchmarks.screening`; models "
        "trained on handwritten digits, effects and scores on 450 images that they "
        "were not trained on"
    )


NOTE = "`screening/README.md` says what is compared and what came of it.\n"

if __name__ == "__main__":
    main()
