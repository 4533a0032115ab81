"""Running all checks of one model, and keeping what came out as a file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import parent_process
from pathlib import Path

import torch

from benchmarks.conformance.modes.check import check, check_uncalled
from benchmarks.conformance.modes.models import make
from benchmarks.conformance.modes.outcome import Outcome
from benchmarks.conformance.modes.subject import Subject
from benchmarks.conformance.modes.values import MODES

SEED = 0
Say = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Report:
    """All checks of one model.

    Attributes:
        model: Its name in the zoo.
        input: What went in, in words.
        sources: Fingerprint of the code that was checked, and checked it.
        modules: How many modules it has, itself not counted.
        called: How many of them its forward calls.
        outcomes: Every mode on every called module.
        uncalled: `zero` on every other module.
        seconds: How long it took.
    """

    model: str
    input: str
    sources: str
    modules: int
    called: int
    outcomes: tuple[Outcome, ...]
    uncalled: tuple[Outcome, ...]
    seconds: float

    @property
    def failures(self) -> list[Outcome]:
        """Outcomes that are wrong."""
        return [
            outcome
            for outcome in (*self.outcomes, *self.uncalled)
            if outcome.verdict == "failure"
        ]


def check_model(name: str, sources: str, say: Say | None = None) -> Report:
    """Check every mode on every module of one model of the zoo.

    Args:
        name: In `models.ZOO` or `models.SAMPLE`.
        sources: What `fingerprint("modes")` gave.
        say: Told the name, modules done and modules in all, now and then.
    """
    torch.set_num_threads(1)
    began = time.perf_counter()
    subject = Subject(make(name, SEED), SEED)
    called, uncalled = subject.called(), subject.uncalled()
    outcomes: list[Outcome] = []
    others: list[Outcome] = []
    for done, component in enumerate(called):
        if say is not None and done % 20 == 0:
            say(name, done, len(called))
        for mode in MODES:
            outcomes.append(check(subject, component, mode))
            if outcomes[-1].verdict == "failure":  # it may have left something behind
                subject = Subject(make(name, SEED), SEED)
    for component in uncalled:
        others.append(check_uncalled(subject, component))
        if others[-1].verdict == "failure":
            subject = Subject(make(name, SEED), SEED)
    return Report(
        model=name,
        input=subject.probe.input,
        sources=sources,
        modules=len(called) + len(uncalled),
        called=len(called),
        outcomes=tuple(outcomes),
        uncalled=tuple(others),
        seconds=time.perf_counter() - began,
    )


def say(name: str, done: int, total: int) -> None:
    """Progress, as one line; the end of this process if nobody is left to hear it."""
    parent = parent_process()
    if parent is not None and not parent.is_alive():  # killed: a pool does not notice
        os._exit(1)
    print(f"  {name}: {done} of {total} modules", flush=True)


def save(report: Report, folder: Path) -> None:
    """Write a report, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{report.model}.json"
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(report)), encoding="utf-8")
    partial.replace(file)


def load(name: str, folder: Path, sources: str) -> Report | None:
    """The saved report on a model, if it is about this code."""
    file = folder / f"{name}.json"
    if not file.exists():
        return None
    fields = json.loads(file.read_text(encoding="utf-8"))
    if fields["sources"] != sources:
        return None
    for key in ("outcomes", "uncalled"):
        rows: Sequence[dict[str, object]] = fields[key]
        fields[key] = tuple(Outcome(**row) for row in rows)  # type: ignore[arg-type]
    return Report(**fields)
