"""Rows into a TensorBoard log directory: scalars, HParams, images and text."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surgery.report._format import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

SESSIONS = "components"  # folder of the sessions' runs


@dataclass(frozen=True)
class Session:
    """One line of the HParams table: what was set, and what came out.

    Attributes:
        name: What its run is called.
        hparams: What was set.
        metrics: What came out.
        group: Folders that its run lies in, below those of all sessions; where there
            are none, runs are numbered.
    """

    name: str
    hparams: Mapping[str, str | float]
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    group: tuple[str, ...] = ()


def write_tensorboard(
    logdir: str | os.PathLike[str],
    *,
    scalars: Mapping[str, float],
    sessions: Sequence[Session],
    figures: Mapping[str, Figure],
    texts: Mapping[str, str],
    kind: str = "ranking",
    folder: str = SESSIONS,
) -> None:
    """Writes everything at step 0; what was written there before is replaced.

    Scalars, figures and texts go into `logdir` itself, each session into a run of
    its own below it. Values that are not a number are left out.

    Args:
        scalars: Value by tag.
        sessions: Lines of the HParams table.
        figures: Figure by tag.
        texts: Markdown by tag.
        kind: Only files written with the same kind are replaced.
        folder: What the sessions' runs lie in.
    """
    summary: Any = import_module("torch.utils.tensorboard.summary")  # has no types
    root = Path(logdir)
    suffix = f".surgery-{kind}"
    _remove_older(root, suffix, root / folder)
    names = list(dict.fromkeys(key for one in sessions for key in one.metrics))
    metrics = dict.fromkeys((_tag(name) for name in names), 0.0)
    with _writer(root, suffix) as add:
        if sessions:
            # One experiment for all sessions: TensorBoard reads only the first.
            every: dict[str, str | float] = {}
            for session in sessions:
                every |= session.hparams
            add(summary.hparams(_settings(every), metrics)[0])
        for tag, value in scalars.items():
            if not math.isnan(value):
                add(summary.scalar(_tag(tag), value))
        for tag, figure in figures.items():
            add(summary.image(_tag(tag), _pixels(figure), dataformats="HWC"))
        for tag, text in texts.items():
            add(summary.text(_tag(tag), text))
    for run, session in zip(_runs(sessions), sessions, strict=True):
        with _writer(root / folder / run, suffix) as add:
            _, start, end = summary.hparams(_settings(session.hparams), {})
            add(start)
            for tag, value in session.metrics.items():
                if not math.isnan(value):
                    add(summary.scalar(_tag(tag), value))
            add(end)


@contextmanager
def _writer(folder: Path, suffix: str) -> Generator[Callable[[Any], None]]:
    from torch.utils.tensorboard import FileWriter

    writer = FileWriter(str(folder), filename_suffix=suffix)

    def add(summary: Any) -> None:
        writer.add_summary(summary, 0)

    try:
        yield add
    finally:
        writer.close()


def _runs(sessions: Sequence[Session]) -> list[Path]:
    """A folder for each session's run, no two the same."""
    digits = len(str(len(sessions)))
    found: list[Path] = []
    for index, session in enumerate(sessions, 1):
        name = _folder(session.name)
        run = Path(*map(_folder, session.group), name)
        if not session.group or run in found:
            run = run.with_name(f"{index:0{digits}d} {name}")
        found.append(run)
    return found


def _remove_older(root: Path, suffix: str, sessions: Path) -> None:
    """Two rankings in one directory would be drawn as one."""
    for file in list(root.glob(f"**/events.out.tfevents.*{suffix}")):
        file.unlink()
        # Only empty folders of our own go, never the directory that was named.
        parent = file.parent
        while sessions in parent.parents and not any(parent.iterdir()):
            parent.rmdir()
            parent = parent.parent


def _settings(hparams: Mapping[str, str | float]) -> dict[str, str | float]:
    return {
        _tag(key): printable(value) if isinstance(value, str) else value
        for key, value in hparams.items()
    }


def _tag(text: str) -> str:
    """Tags may hold any text that can be encoded."""
    return printable(text) or "(empty)"


def _folder(name: str) -> str:
    """A folder's name on every system, close to the component's."""
    return re.sub(r"[^\w.@#,=+-]+", "_", printable(name))[:80].strip(" .") or "_"


def _pixels(figure: Figure) -> NDArray[Any]:
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
