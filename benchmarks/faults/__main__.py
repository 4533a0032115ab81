"""Kills 100 drivers and 100 workers of a fast study, and writes what comes of it."""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import platform
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks.faults import fast
from benchmarks.faults.drive import drive
from benchmarks.faults.kills import Told, campaign
from benchmarks.faults.ledger import Metrics, stored
from benchmarks.sections import RESULTS, write_section

HEAD = """\
| killed | kills | studies | trials | starts interrupted | COMPLETE twice, restarted, \
other metrics |
|---|---|---|---|---|---|"""


def undisturbed(folder: Path) -> dict[str, Metrics]:
    """Metrics of each trial of a study that nobody kills."""
    # Drivers are forked from this process, which has to have imported everything, and
    # must not have trained.
    fast.study(folder).plan()
    importlib.import_module("scipy.special")
    alone = multiprocessing.get_context("fork").Process(target=drive, args=(folder, 1))
    alone.start()
    alone.join()
    return {record.id: record.metrics for record in stored(folder)}


def row(who: str, told: Told) -> str:
    return (
        f"| {who} | {told.kills} | {told.rounds} | {told.trials} | "
        f"{told.interrupted} | {len(told.wrong)} |"
    )


def main() -> None:
    """Run both campaigns and write their tables, after every study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drivers", type=int, default=100)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", type=Path, default=RESULTS, help="what is written")
    options = parser.parse_args()
    torch.set_num_threads(1)
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        truth = undisturbed(folder / "undisturbed")
        for who, kills in (("driver", options.drivers), ("worker", options.workers)):
            told = None
            for told in campaign(who, kills, folder, truth, options.seed):
                print(row(who, told), flush=True)
                write_section(
                    f"What killing a {who} does to a study",
                    section(who, told, len(truth), options.seed),
                    options.page,
                )
            wrong += told.wrong if told else ()
    if wrong:
        raise SystemExit("\n".join(["what must never happen has happened:", *wrong]))


def section(who: str, told: Told, trials: int, seed: int) -> str:
    """What is written of one campaign."""
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, CPU {platform.machine()}, one torch thread per "
        f"process, {told.seconds:.0f} s, torch {torch.__version__}, Python "
        f"{platform.python_version()}; `python -m benchmarks.faults`\n\n"
        f"{HEAD}\n{row(who, told)}\n\n"
        f"`kill -9` at random moments, seed {seed}; {trials} trials a study; metrics "
        "are compared bit for bit with a study that nobody killed. `faults/README.md` "
        "says what is looked for.\n"
    )


if __name__ == "__main__":
    main()
