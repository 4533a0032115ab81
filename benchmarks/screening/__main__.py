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
from benchmarks.screening.measure import measure
from benchmarks.screening.tables import case_table, judge, verdict_table
from benchmarks.sections import RESULTS, write_section
from surgery.sensitivity import Method

TITLE = "Scores from one pass against exact effects"
CACHE = Path(".cache/screening")


def main() -> None:
    """Measure what is not in files yet, and write the tables of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", default="", help="part of a model's name")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of files")
    parser.add_argument("--page", type=Path, default=RESULTS, help="what is written")
    options = parser.parse_args()
    torch.set_num_threads(1)
    # With all dials near 1 activations are so small that a CPU takes long over them.
    torch.set_flush_denormal(True)
    methods: tuple[Method, ...] = get_args(Method)
    parts: list[str] = []
    judged = []
    for case in CASES:
        if options.case not in case.recipe.name:
            continue
        found = []
        for seed in options.seeds:
            found += measure(case, seed, methods, options.cache)
            judgement = judge(case, found)
            print(f"{judgement.case}, {len(found)} scores: {judgement}", flush=True)
        table = case_table(case, found)
        print(table, flush=True)
        parts.append(f"{case.recipe.title}:\n\n{table}")
        judged.append(judge(case, found))
    verdicts = verdict_table(judged)
    print(verdicts)
    if len(judged) == len(CASES) and options.seeds == list(SEEDS):
        stamp = (
            f"{datetime.now(UTC):%Y-%m-%d}, CPU {platform.machine()}, torch "
            f"{torch.__version__}, timm {timm.__version__}, Python "
            f"{platform.python_version()}; `python -m benchmarks.screening`; models "
            f"trained on handwritten digits from {len(SEEDS)} seeds, effects and "
            "scores on the 450 images that they were not trained on; medians over seeds"
        )
        section = "\n\n".join([stamp, *parts, "What must be shown:", verdicts, NOTE])
        write_section(TITLE, section, options.page)


NOTE = "`screening/README.md` says what is compared and what came of it.\n"

if __name__ == "__main__":
    main()
