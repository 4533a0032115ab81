"""Results: rows and where they come from, which print, save and load."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Literal,
    Self,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from surgery.errors import SurgeryError
from surgery.report._console import draw, render
from surgery.report._json import FileKind, JSONValue, load_json, plain_json, save_json
from surgery.report._table import Table, to_pandas

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, ConsoleOptions, RenderableType

RowT = TypeVar("RowT")


@dataclass(frozen=True, repr=False)
class AbstractRows(ABC, Generic[RowT]):
    """Rows of one kind, which print as tables."""

    rows: tuple[RowT, ...]

    @abstractmethod
    def tables(self) -> Sequence[Table]:
        """What is printed."""

    @abstractmethod
    def data(self) -> Table:
        """Everything, under the names of the columns."""

    def __iter__(self) -> Iterator[RowT]:
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
        for table in self.tables():
            yield draw(table, options.max_width)

    def render(self, width: int | None = None, color: bool | None = None) -> str:
        """The tables as text; by default with colours if this is a terminal."""
        return "\n\n".join(render(table, width, color) for table in self.tables())

    def to_pandas(self) -> pd.DataFrame:
        """One line per row."""
        return to_pandas(self.data())


@dataclass(frozen=True, repr=False)
class AbstractResult(AbstractRows[RowT]):
    """Rows and where they come from, as plain JSON; saved and loaded."""

    provenance: Mapping[str, JSONValue]

    FILE: ClassVar[FileKind]
    ROW: ClassVar[type]

    def __post_init__(self) -> None:
        provenance = cast("dict[str, JSONValue]", plain_json(self.provenance))
        object.__setattr__(self, "provenance", provenance)
        object.__setattr__(self, "rows", tuple(self.ordered()))

    @abstractmethod
    def ordered(self) -> Sequence[RowT]:
        """The rows in the order in which they are kept."""

    @property
    def skipped(self) -> tuple[dict[str, JSONValue], ...]:
        """Components that could not be measured: `component, cause`."""
        return self._records("skipped")

    @property
    def failures(self) -> tuple[dict[str, JSONValue], ...]:
        """Samples that failed only in a variant: `component, sample, cause`."""
        return self._records("failures")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes rows and provenance as JSON; `load` reads any older version."""
        rows = [vars(row) for row in self.rows]
        save_json(path, self.FILE, {"provenance": self.provenance, "rows": rows})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads what `save` wrote."""
        body = load_json(path, cls.FILE)
        rows, provenance = body.get("rows"), body.get("provenance")
        if not isinstance(rows, list) or not isinstance(provenance, dict):
            raise SurgeryError(
                f"{os.fspath(path)} is damaged: it lacks its rows or its provenance; "
                "save it again"
            )
        return cls(tuple(_row(cls.ROW, row, path) for row in rows), provenance)

    def _records(self, key: str) -> tuple[dict[str, JSONValue], ...]:
        value = self.provenance.get(key)
        listed = value if isinstance(value, list) else []
        return tuple(record for record in listed if isinstance(record, dict))


def _row(kind: type, saved: JSONValue, path: str | os.PathLike[str]) -> Any:
    """A row, every field of which has its type."""
    values = saved if isinstance(saved, dict) else {}
    types = get_type_hints(kind)
    known = {field.name: str(field.type) for field in fields(kind)}
    try:
        if set(values) != set(known):
            raise ValueError(f"it has the fields {', '.join(values) or 'of no row'}")
        return kind(**{k: _typed(values[k], types[k], known[k]) for k in known})
    except (TypeError, ValueError) as error:
        raise SurgeryError(
            f"{os.fspath(path)} is damaged: a row cannot be read ({error}); save it "
            "again"
        ) from error


def _typed(value: JSONValue, type: Any, name: str) -> object:
    if type is float and isinstance(value, int | float | str):
        return float(value)  # reads "NaN" and "Infinity" too
    if type is int and isinstance(value, int):
        return value
    if isinstance(value, str) and (
        type is str or (get_origin(type) is Literal and value in get_args(type))
    ):
        return value
    raise ValueError(f"got {value!r} where {name} belongs")
