"""Times a study on one process and on two, in turn, and writes what comes of it."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks.sections import RESULTS, write_section
from benchmarks.study.digits import LAYERS
from benchmarks.study.runs import Round, Size, epochs_for, measured

PROMISED = 1.8
ENOUGH = 16, 5.0  # trials, and seconds of the shortest, that the promise is about
HEAD = """\
| round | first | one process, s | two, s | one / two | trainings without a study |
|---|---|---|---|---|---|"""


def row(number: int, found: Round) -> str:
    """One line of the table."""
    first = "two" if number % 2 else "one"
    return (
        f"| {number + 1} | {first} | {found.one.seconds:.1f} | "
        f"{found.two.seconds:.1f} | **{found.ratio:.2f}** | {found.machine:.2f} |"
    )


def verdict(rounds: Sequence[Round]) -> str:
    """Whether the promise is kept; what is too small says nothing of it."""
    trials = len(rounds[0].one.trials)
    shortest = min(one.one.shortest for one in rounds)
    ratio = statistics.median(one.ratio for one in rounds)
    if trials < ENOUGH[0] or shortest < ENOUGH[1]:
        return f"too small to tell: {trials} trials, the shortest of {shortest:.1f} s"
    return f"at least {PROMISED}: {'**met**' if ratio >= PROMISED else '**MISSED**'}"


def section(rounds: Sequence[Round], size: Size) -> str:
    """What is written."""
    ratio = statistics.median(one.ratio for one in rounds)
    shortest = min(one.one.shortest for one in rounds)
    rows = "\n".join(row(number, one) for number, one in enumerate(rounds))
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, CPU {platform.machine()}, {os.cpu_count()} "
        f"cores, one torch thread per process, torch {torch.__version__}, Python "
        f"{platform.python_version()}; `python -m benchmarks.study`\n\n"
        f"{size.trials} trials of {size.epochs} epochs on digits, the shortest of "
        f"{shortest:.1f} s; both sides found the same metrics to the last bit.\n\n"
        f"{HEAD}\n{rows}\n\nMedian {ratio:.2f}; {verdict(rounds)}. `study/README.md` "
        "says what is timed.\n"
    )


def main() -> None:
    """Run the rounds and write their section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of a trial")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--layers", type=int, default=len(LAYERS))
    parser.add_argument("--page", type=Path, default=RESULTS, help="what is written")
    options = parser.parse_args()
    size = Size(epochs_for(options.seconds), options.seeds, options.layers)
    rounds: list[Round] = []
    print(f"{size.trials} trials of {size.epochs} epochs a side\n{HEAD}", flush=True)
    for number in range(options.rounds):
        rounds.append(measured(size, flip=number % 2 == 1))
        print(row(number, rounds[-1]), flush=True)
    title = "What a second process does for a study"
    write_section(title, section(rounds, size), options.page)
    said = verdict(rounds)
    print(said)
    if "MISSED" in said:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
