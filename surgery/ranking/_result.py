"""Ranking: what taking each component away did to each metric."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast, get_args

from surgery.errors import SurgeryError
from surgery.ranking import _views as views
from surgery.ranking._row import Reach, Row, Verdict
from surgery.report import (
    FileKind,
    JSONValue,
    load_json,
    plain_json,
    render,
    save_json,
    to_pandas,
    write_tensorboard,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from rich.console import Console, ConsoleOptions, RenderableType

FILE = FileKind("surgery.Ranking", version=1)


@dataclass(frozen=True, repr=False)
class Ranking:
    """What taking each component away did, most harmful first.

    Prints as a table. Rows are kept by group, within it by metric, within that by
    importance: the component whose loss hurts the metric most comes first. Where
    `provenance["higher_is_better"]` does not say what hurts, the largest change does.

    Attributes:
        rows: One per component and metric.
        provenance: Where the numbers come from, as plain JSON: `versions, model,
            targets, mode, dial, seed, plan, world_size, data, command, confidence,
            correction, higher_is_better` (by metric), `skipped` (dicts with
            `component, cause`), `failures` (with `component, sample, cause`),
            `seconds`.
    """

    rows: tuple[Row, ...]
    provenance: Mapping[str, JSONValue]

    def __post_init__(self) -> None:
        provenance = cast("dict[str, JSONValue]", plain_json(self.provenance))
        better = provenance.get("higher_is_better")
        better = better if isinstance(better, dict) else {}
        object.__setattr__(self, "provenance", provenance)
        object.__setattr__(self, "rows", views.ordered(self.rows, better))

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        """The tables without colours, since text may go anywhere."""
        return self.render(color=False)

    __repr__ = __str__

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        yield from views.drawn(self, options.max_width)

    @property
    def skipped(self) -> tuple[dict[str, JSONValue], ...]:
        """Components that could not be ranked: `component, cause`."""
        return views.records(self, "skipped")

    @property
    def failures(self) -> tuple[dict[str, JSONValue], ...]:
        """Samples that failed only in a variant: `component, sample, cause`."""
        return views.records(self, "failures")

    def render(self, width: int | None = None, color: bool | None = None) -> str:
        """The tables as text; by default with colours if this is a terminal."""
        return "\n\n".join(render(table, width, color) for table in views.tables(self))

    def top(self, k: int = 5, metric: str | None = None) -> tuple[Row, ...]:
        """The `k` rows whose loss hurts a metric most (by default the first one)."""
        return views.series(self, metric)[1][: max(k, 0)]

    def least(self, k: int = 5, metric: str | None = None) -> tuple[Row, ...]:
        """The `k` rows whose loss hurts a metric least, the most harmless first."""
        measured = [r for r in views.series(self, metric)[1] if r.verdict != "failed"]
        return tuple(measured[::-1][: max(k, 0)])

    def to_pandas(self) -> pd.DataFrame:
        """One line per row, in the columns of `Row` (`group` if there are several)."""
        return to_pandas(views.data(self))

    def plot(self, metric: str | None = None) -> Figure:
        """A bar chart with intervals of one metric (by default the first one)."""
        return views.chart(self, metric)

    def to_tensorboard(self, logdir: str | os.PathLike[str]) -> None:
        """Writes scalars, an HParams table, bar charts and the tables as text.

        A directory holds one ranking: writing again replaces the earlier one.
        """
        write_tensorboard(logdir, **views.logs(self))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes rows and provenance as JSON; `load` reads any older version."""
        rows = [vars(row) for row in self.rows]
        save_json(path, FILE, {"provenance": self.provenance, "rows": rows})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Ranking:
        """Reads what `save` wrote."""
        body = load_json(path, FILE)
        rows, provenance = body.get("rows"), body.get("provenance")
        if not isinstance(rows, list) or not isinstance(provenance, dict):
            raise SurgeryError(
                f"{os.fspath(path)} is damaged: it lacks its rows or its provenance; "
                "save the ranking again"
            )
        return cls(tuple(_row(row, path) for row in rows), provenance)


def _row(saved: JSONValue, path: str | os.PathLike[str]) -> Row:
    """A row, every field of which has its type."""
    values = saved if isinstance(saved, dict) else {}
    known = {field.name: str(field.type) for field in fields(Row)}
    try:
        if set(values) != set(known):
            raise ValueError(f"it has the fields {', '.join(values) or 'of no row'}")
        typed: dict[str, Any] = {k: _typed(values[k], known[k]) for k in known}
        return Row(**typed)
    except (TypeError, ValueError) as error:
        raise SurgeryError(
            f"{os.fspath(path)} is damaged: a row cannot be read ({error}); "
            "save the ranking again"
        ) from error


def _typed(value: JSONValue, type: str) -> object:
    choices = {"Verdict": get_args(Verdict), "Reach": get_args(Reach)}.get(type)
    if type == "float" and isinstance(value, int | float | str):
        return float(value)  # reads "NaN" and "Infinity" too
    if type == "int" and isinstance(value, int):
        return value
    if isinstance(value, str) and (type == "str" or value in (choices or ())):
        return value
    raise ValueError(f"got {value!r} where {type} belongs")
