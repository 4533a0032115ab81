"""StudyResults: what retraining without each part did to each metric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from surgery.report import JSONValue, plain_json, render, to_pandas
from surgery.study.results import _views as views
from surgery.study.results._row import ArmRow
from surgery.study.results._rows import ArmTrials

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, ConsoleOptions, RenderableType


@dataclass(frozen=True, repr=False)
class StudyResults:
    """What retraining without each part did, most harmful first; prints as a table.

    A study that is not finished has results too, of the trials that are done.

    Attributes:
        rows: One per arm and metric, in each context and tier.
        arms: All arms with their trials, the base included; what rows are made of.
        provenance: Where the numbers come from, as plain JSON: `study, objectives,
            seeds, policy, confidence, correction, notes, runs`.
    """

    rows: tuple[ArmRow, ...]
    arms: tuple[ArmTrials, ...]
    provenance: Mapping[str, JSONValue]

    def __post_init__(self) -> None:
        plain = cast("dict[str, JSONValue]", plain_json(self.provenance))
        object.__setattr__(self, "provenance", plain)
        object.__setattr__(self, "rows", views.ordered(self.rows, plain))

    def __iter__(self) -> Iterator[ArmRow]:
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

    def render(self, width: int | None = None, color: bool | None = None) -> str:
        """The tables as text; by default with colours if this is a terminal."""
        return "\n\n".join(render(table, width, color) for table in views.tables(self))

    def to_pandas(self) -> pd.DataFrame:
        """One line per arm and metric."""
        return to_pandas(views.data(self))

    def trials(self) -> pd.DataFrame:
        """One line per trial: `arm, seed, state, metrics, seconds` and what else."""
        return to_pandas(views.trials(self))
