"""Progress of long work: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol, TextIO, cast

from surgery.report._format import printable

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, Task
    from rich.text import Text

QUIET = 10.0  # seconds between lines where there is no terminal

# Two live displays would overwrite each other: inner work joins the outer one's.
_running: ContextVar[Progress | None] = ContextVar("running", default=None)


class Advance(Protocol):
    """Says that so many more steps are done; a note is shown beside the title."""

    def __call__(self, steps: int = 1, note: str | None = None) -> None: ...


@contextmanager
def progress(
    title: str,
    total: int | None = None,
    enabled: bool = True,
    *,
    stream: TextIO | None = None,
    terminal: bool | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Generator[Advance]:
    """Shows how far the work inside has come, with rate and time left.

    Goes to standard error. On a terminal it is a bar that disappears at the end,
    elsewhere a line every 10 seconds, hence nothing for short work.

    Args:
        total: Number of steps, if known.
        enabled: `False` for silence.
        stream: Where to write instead of standard error.
        terminal: Whether that is a terminal, if it cannot tell itself.
        clock: Seconds, for the lines.
    """
    if stream is None:
        stream = cast("TextIO | None", sys.stderr)  # None under pythonw
    if stream is None or not enabled:
        yield _ignore
        return
    terminal = stream.isatty() if terminal is None else terminal
    if terminal:
        with _bar(title, total, stream) as advance:
            yield advance
    else:
        yield _Lines(printable(title), total, stream, clock)


def _ignore(steps: int = 1, note: str | None = None) -> None:
    """Progress that nobody watches."""


@contextmanager
def _bar(title: str, total: int | None, stream: TextIO) -> Generator[Advance]:
    display = _running.get()
    if display is None:
        display = _display(stream)
        token = _running.set(display)
        try:
            with display, _task(display, title, total) as advance:
                yield advance
        finally:
            _running.reset(token)
    else:
        with _task(display, title, total) as advance:
            yield advance


@contextmanager
def _task(display: Progress, title: str, total: int | None) -> Generator[Advance]:
    task = display.add_task(printable(title), total=total)

    def advance(steps: int = 1, note: str | None = None) -> None:
        display.advance(task, steps)
        if note is not None:
            display.update(task, description=printable(f"{title} ({note})"))

    try:
        yield advance
    finally:
        display.remove_task(task)


def _display(stream: TextIO) -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _rate_column(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(file=stream, force_terminal=True),
        transient=True,
        redirect_stdout=False,  # what the user prints belongs to standard output
    )


def _rate_column() -> ProgressColumn:
    from rich.progress import ProgressColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.1f}/s")

    return Rate()


class _Lines:
    """A line now and then, for logs."""

    def __init__(
        self, title: str, total: int | None, stream: TextIO, clock: Callable[[], float]
    ) -> None:
        self._title, self._total, self._stream = title, total, stream
        self._clock = clock
        self._start = self._last = clock()
        self._done = 0
        self._note = ""

    def __call__(self, steps: int = 1, note: str | None = None) -> None:
        self._done += steps
        self._note = self._note if note is None else f" ({printable(note)})"
        now = self._clock()
        if now - self._last < QUIET:
            return
        self._last = now
        rate = self._done / (now - self._start)
        of = "" if self._total is None else f"/{self._total}"
        line = f"{self._title}{self._note}: {self._done}{of}, {rate:.3g}/s"
        if self._total is not None and rate > 0:
            line += f", {max(0, self._total - self._done) / rate:.0f} s left"
        print(line, file=self._stream, flush=True)
