"""Runs of the same study on one process and on two, each in a process of its own."""

from __future__ import annotations

import math
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.study import digits
from surgery.study import LocalProcesses, Reporter

Trials = dict[tuple[str, int], dict[str, float]]
"""Metrics by arm and seed."""


@dataclass(frozen=True)
class Size:
    """How large a study is."""

    epochs: int
    seeds: int
    layers: int

    @property
    def trials(self) -> int:
        return (1 + self.layers) * self.seeds


@dataclass(frozen=True)
class Run:
    """What one run of the study took.

    Attributes:
        seconds: From `study.run()` to its results, start of workers included.
        shortest: Seconds of its shortest trial.
        trials: What came of it.
    """

    seconds: float
    shortest: float
    trials: Trials


@dataclass(frozen=True)
class Round:
    """Both sides once, and what the machine gives without a study.

    Attributes:
        one: On one process.
        two: On two.
        alone: Seconds of a plain training alone.
        beside: Seconds of two plain trainings at once, each in its own process.
    """

    one: Run
    two: Run
    alone: float
    beside: float

    @property
    def ratio(self) -> float:
        """How many times faster two processes are."""
        return self.one.seconds / self.two.seconds

    @property
    def machine(self) -> float:
        """The same of plain trainings: what is there to be had."""
        return 2 * self.alone / self.beside


def measured(size: Size, *, flip: bool) -> Round:
    """One round.

    Args:
        size: The study's.
        flip: Two processes first.

    Raises:
        SystemExit: The two sides found other metrics.
    """
    sides: dict[int, Run] = {}
    for workers in (2, 1) if flip else (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            (sides[workers],) = _in_processes(_run, [(folder, size, workers)])
    if sides[1].trials != sides[2].trials:
        raise SystemExit("one process and two found other metrics")
    (alone,) = _in_processes(_plain, [(size.epochs,)])
    beside = max(_in_processes(_plain, [(size.epochs,)] * 2))
    return Round(sides[1], sides[2], alone, beside)


def epochs_for(seconds: float) -> int:
    """Epochs with which a training takes so long here, on one thread."""
    few = 3
    took: float = _in_processes(_plain, [(few,)])[0]
    return max(1, math.ceil(few * seconds / took))


def _run(folder: str, size: Size, workers: int) -> Run:
    torch.set_num_threads(1)
    study = digits.study(Path(folder), size.epochs, size.seeds, size.layers)
    executor = LocalProcesses(workers, threads=1) if workers > 1 else None
    start = time.perf_counter()
    results = study.run(executor=executor, progress=False)
    seconds = time.perf_counter() - start
    done = [(one.arm.name, trial) for one in results.arms for trial in one.trials]
    if any(trial.state != "COMPLETE" for _, trial in done):
        raise SystemExit(f"a trial failed:\n{results}")
    return Run(
        seconds,
        min(trial.seconds or 0.0 for _, trial in done),
        {(arm, trial.seed): dict(trial.metrics) for arm, trial in done},
    )


def _plain(epochs: int) -> float:
    """Seconds of a training without a study."""
    torch.set_num_threads(1)
    model, data = digits.make_model(), digits.make_data()
    quiet = Reporter("", Path(), lambda logged: "")
    digits.train(model, data, {"epochs": 1}, quiet)  # what is loaded once is
    start = time.perf_counter()
    digits.train(model, data, {"epochs": epochs}, quiet)
    return time.perf_counter() - start


def _in_processes(
    function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]
) -> list[Any]:
    """What a function returns in fresh processes, one per tuple, all at once."""
    context = multiprocessing.get_context("spawn")
    started: list[tuple[Any, Any]] = []
    for given in arguments:
        ours, theirs = context.Pipe()
        process = context.Process(target=_sent, args=(theirs, function, given))
        process.start()
        theirs.close()
        started.append((process, ours))
    found: list[Any] = []
    for process, pipe in started:
        try:
            found.append(pipe.recv())
        except EOFError:
            raise SystemExit("a side of the benchmark failed, see above") from None
        finally:
            process.join()
    return found


def _sent(pipe: Any, function: Callable[..., Any], given: tuple[Any, ...]) -> None:
    pipe.send(function(*given))
