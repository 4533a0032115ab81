"""Kills drivers, or workers under a driver, at random moments."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from pathlib import Path

from benchmarks.faults.drive import drive
from benchmarks.faults.ledger import Ledger, Metrics, begun

PATIENCE = 600.0  # seconds until a driver that does nothing is an error


@dataclass(frozen=True)
class Told:
    """What a campaign of kills came to."""

    kills: int
    rounds: int
    trials: int
    interrupted: int
    wrong: tuple[str, ...]
    seconds: float


def campaign(
    who: str,
    kills: int,
    folder: Path,
    undisturbed: Mapping[str, Metrics],
    seed: int,
) -> Iterator[Told]:
    """Kill so many drivers, or workers; a study that is done is followed by another.

    Tells what has come of it so far after every study.

    Args:
        who: `"driver"` or `"worker"`.
        kills: How many.
        folder: Where studies are kept.
        undisturbed: Metrics of each trial, of a study that nobody killed.
        seed: Of the moments.
    """
    draws = random.Random(seed)
    start = time.perf_counter()
    kill = _kill_drivers if who == "driver" else _kill_workers
    done = rounds = trials = interrupted = 0
    wrong: list[str] = []
    while done < kills:
        ledger = Ledger(folder / f"{who}-{rounds}")
        done += kill(ledger, kills - done, draws)
        _finish(ledger.folder)
        ledger.close(undisturbed)
        rounds += 1
        trials += len(undisturbed)
        interrupted += ledger.lost
        wrong += ledger.wrong
        seconds = time.perf_counter() - start
        yield Told(done, rounds, trials, interrupted, tuple(wrong), seconds)


def _kill_drivers(ledger: Ledger, most: int, draws: random.Random) -> int:
    """Start the study and kill its driver, until it is done before it is killed."""
    for done in range(most):
        before = len(begun(ledger.folder))
        with _driver(ledger.folder, 1 if draws.random() < 0.9 else 2) as driver:
            if draws.random() < 0.2:
                time.sleep(draws.uniform(0, 1.5))  # as often as not, while it starts
            else:
                _wait_for_more(ledger.folder, before, driver)
                time.sleep(draws.uniform(0, 0.6))
            if not driver.is_alive():
                return done
            workers = _workers(driver)
            driver.kill()
            driver.join()
            _wait_for_the_end(workers)
        ledger.look()
    return most


def _kill_workers(ledger: Ledger, most: int, draws: random.Random) -> int:
    """Kill one worker after the other under a driver that goes on."""
    done = 0
    while done < most:
        with _driver(ledger.folder, 2) as driver:
            while done < most:
                before = len(begun(ledger.folder))
                if draws.random() < 0.8:
                    _wait_for_more(ledger.folder, before, driver)
                time.sleep(draws.uniform(0, 0.4))
                if not driver.is_alive():
                    break
                workers = _workers(driver)
                if not workers:
                    continue
                ledger.look()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(draws.choice(workers), signal.SIGKILL)
                    done += 1
            else:
                break
            if driver.exitcode == 0:
                return done
            # Three workers in a row that were killed while they started are taken for
            # a study that cannot be run: the driver says so, and is started again.
    return done


def _finish(folder: Path) -> None:
    """Run the study to its end, undisturbed."""
    with _driver(folder, 1) as driver:
        driver.join()
    if driver.exitcode:
        raise SystemExit("a study that was killed cannot be run any more, see above")


@contextlib.contextmanager
def _driver(folder: Path, workers: int) -> Iterator[ForkProcess]:
    """A process that runs the study; forked, which spares it the imports."""
    driver = multiprocessing.get_context("fork").Process(
        target=drive, args=(folder, workers)
    )
    driver.start()
    try:
        yield driver
    finally:
        driver.kill()
        driver.join()


def _wait_for_more(folder: Path, before: int, driver: ForkProcess) -> None:
    """Until another train function is entered, or the driver has ended."""
    _wait(lambda: len(begun(folder)) > before or not driver.is_alive())


def _wait_for_the_end(processes: Iterable[int]) -> None:
    _wait(lambda: not any(map(_alive, processes)))


def _wait(condition: Callable[[], bool]) -> None:
    waited, last = 0.0, time.monotonic()
    while not condition():
        now = time.monotonic()
        # While everything was suspended nothing could happen: that does not count.
        waited, last = waited + min(now - last, 1.0), now
        if waited > PATIENCE:
            raise SystemExit(f"nothing happened for {PATIENCE:.0f} s")
        time.sleep(0.01)


def _workers(driver: ForkProcess) -> list[int]:
    """Processes of a driver that run, or are about to run, trials."""
    children = Path(f"/proc/{driver.pid}/task/{driver.pid}/children")
    try:
        found = [int(child) for child in children.read_text().split()]
    except OSError:
        return []
    return [child for child in found if _is_worker(child)]


def _is_worker(process: int) -> bool:
    try:
        return b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def _alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
