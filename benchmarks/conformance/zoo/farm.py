"""The farm: one process per model, a few at a time, each result kept at once.

A process is forked by a server that has imported the libraries, and gives its memory
back when it ends. Killed at any moment, a run loses the models under way and no others.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from benchmarks.conformance.zoo.report import Report, load, read, save
from benchmarks.conformance.zoo.specimen import Case

PRELOADED = ("benchmarks.conformance.zoo.warm",)
LATE = 4
"""A process that has taken so many times its cap on the wall clock is ended."""

Check = Callable[..., Report]


@dataclass
class Farm:
    """Where results go, and how many processes make them.

    Attributes:
        folder: Where results are kept.
        sources: Fingerprint of the code they come from.
        jobs: How many processes at a time.
        cap: Seconds one model may take.
        done: Told every report as it comes.
        check: What a process runs.
    """

    folder: Path
    sources: str
    jobs: int
    cap: float
    done: Callable[[Report], None]
    check: Check
    _running: dict[int, tuple[Case, BaseProcess, float]] = field(
        default_factory=dict[int, tuple[Case, BaseProcess, float]]
    )

    def run(self, cases: Sequence[Case], seconds: float | None = None) -> None:
        """Check these models, in this order; begin none after so many seconds."""
        began = time.monotonic()
        # Every process computes with one thread: bits must not depend on the machine.
        os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        context = get_context("forkserver")
        context.set_forkserver_preload([*PRELOADED, self.check.__module__])
        waiting = list(cases)
        try:
            while waiting or self._running:
                if seconds is not None and time.monotonic() - began > seconds:
                    waiting.clear()
                while waiting and len(self._running) < self.jobs:
                    self._start(context, waiting.pop(0))
                self._collect()
        finally:
            for _, process, _ in self._running.values():
                process.kill()

    def _start(self, context: object, case: Case) -> None:
        given = (self.check, case, self.sources, self.folder, self.cap)
        process: BaseProcess = context.Process(target=work, args=given)  # type: ignore[attr-defined]
        process.start()
        self._running[process.sentinel] = case, process, time.monotonic()

    def _collect(self) -> None:
        ended = set(wait(list(self._running), timeout=5.0))
        for sentinel, (case, process, began) in list(self._running.items()):
            late = time.monotonic() - began > LATE * self.cap
            if sentinel not in ended and not late:
                continue
            if sentinel not in ended:
                process.kill()
            process.join()
            del self._running[sentinel]
            report = load(case.name, self.folder, self.sources)
            if report is None:
                report = self._lost(case, process, late)
            self.done(report)

    def _lost(self, case: Case, process: BaseProcess, late: bool) -> Report:
        file = _progress_file(self.folder, case.name)
        reached = file.read_text(encoding="utf-8") if file.exists() else "nothing"
        why = "its time was up" if late else f"it ended with {process.exitcode}"
        fault = f"no result: {why}; it had reached {reached}"
        # Not kept: the next run tries again.
        return Report(case.name, case.family, case.group, self.sources, fault=fault)


def work(check: Check, case: Case, sources: str, folder: Path, cap: float) -> None:
    """What a process does: check one model, and keep the report."""
    folder.mkdir(parents=True, exist_ok=True)
    file = _progress_file(folder, case.name)
    parent = parent_process()

    def beat(stage: str, done: int, total: int) -> None:
        if parent is not None and not parent.is_alive():  # killed, and nobody waits
            os._exit(1)
        file.write_text(f"{stage}: {done} of {total}", encoding="utf-8")

    report = check(case, sources, beat, cap)
    save(report, folder)
    file.unlink(missing_ok=True)


def kept(cases: Sequence[Case], folder: Path, sources: str) -> dict[str, Report]:
    """Reports of an earlier run that are about this code, by name."""
    found = {case.name: load(case.name, folder, sources) for case in cases}
    return {name: report for name, report in found.items() if report is not None}


def costs(folder: Path, file: Path) -> dict[str, float]:
    """Seconds that models took before: of whatever code last, else as committed."""
    known: dict[str, float] = {}
    if file.exists():
        known.update(json.loads(file.read_text(encoding="utf-8")))
    for saved in sorted(folder.glob("*.json")) if folder.exists() else ():
        report = read(saved)
        if report.took:
            known[report.model] = report.took
    return known


def _progress_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.progress"
