"""Times the ways against each other, in turn, and writes what it found."""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from datetime import UTC, datetime

import timm
import torch
from torch.utils.data import DataLoader

import surgery
from benchmarks.sections import write_section
from benchmarks.sweep.cases import CASES, Case, Encoded
from benchmarks.sweep.ways import ours, tuned, usual

WAYS = {"usual": usual, "tuned": tuned, "surgery": ours}


def measure(case: Case, rounds: int) -> tuple[int, dict[str, list[float]]]:
    """Seconds of every way in every round; the ways take turns."""
    torch.manual_seed(0)
    model = case.make().eval()
    loader = DataLoader(Encoded(case.images, case.pixels), batch_size=case.batch_size)
    found = surgery.components(model, torch.zeros(1, 3, case.pixels, case.pixels))
    paths = {part.path for part in found if part.kind == "module"}
    names = [
        row.component
        for row in surgery.rank(model, loader, case.targets, progress=False)
        if row.component in paths
    ]
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        values: dict[str, dict[str, float]] = {}
        for way, run in WAYS.items():
            start = time.perf_counter()
            values[way] = run(model, loader, names)
            seconds[way].append(time.perf_counter() - start)
        for way, value in values.items():
            if any(abs(value[n] - values["usual"][n]) > 1e-6 for n in value):
                raise SystemExit(f"{case.name}: {way} and usual disagree")
    return len(names), seconds


def row(case: Case, components: int, seconds: dict[str, list[float]]) -> str:
    """One line of the table: medians, and medians of the per-round ratios."""
    median = {way: statistics.median(times) for way, times in seconds.items()}

    def ratio(way: str) -> float:
        pairs = zip(seconds[way], seconds["surgery"], strict=True)
        return statistics.median(theirs / mine for theirs, mine in pairs)

    return (
        f"| {case.name}, {case.pixels} px, batch {case.batch_size}, {case.images} "
        f"images | {components} | {median['usual']:.2f} | {median['tuned']:.2f} | "
        f"{median['surgery']:.2f} | {ratio('usual'):.2f} | {ratio('tuned'):.2f} |"
    )


def main() -> None:
    """Run the cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=[case.name for case in CASES])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lines = [
        "| case | components | usual, s | tuned, s | surgery, s | usual / surgery "
        "| tuned / surgery |",
        "|---|---|---|---|---|---|---|",
    ]
    for case in CASES:
        if options.case in (None, case.name):
            lines.append(row(case, *measure(case, options.rounds)))
            print(lines[-1], flush=True)
    if options.case is None:
        section = _section(lines, options.rounds, options.threads)
        write_section("Ranking with the hooks backend against loops", section)


def _section(lines: list[str], rounds: int, threads: int) -> str:
    stamp = (
        f"{datetime.now(UTC):%Y-%m-%d}, CPU {platform.machine()}, {threads} torch "
        f"thread(s), {rounds} rounds in turn, medians; torch {torch.__version__}, timm "
        f"{timm.__version__}, Python {platform.python_version()}; "
        "`python -m benchmarks.sweep`"
    )
    return (
        f"{stamp}\n\n" + "\n".join(lines) + "\n\n"
        "Above 1: `surgery` is faster. `sweep/README.md` says what is compared.\n"
    )


if __name__ == "__main__":
    main()
