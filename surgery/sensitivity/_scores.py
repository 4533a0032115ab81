"""Scores: what one pass over the data says of every component."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, cast

from surgery.report import (
    AbstractResult,
    Bar,
    Column,
    FileKind,
    JSONValue,
    Session,
    Table,
    bar_chart,
    format_value,
    markdown,
    write_tensorboard,
)
from surgery.sensitivity._curve import better_of, harm
from surgery.sensitivity._score import SIGNED, Score

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE = FileKind("surgery.Scores", version=1)


@dataclass(frozen=True, repr=False)
class Scores(AbstractResult[Score]):
    """A score per component, from one pass, with a check against exact effects.

    Prints as a table. Components that matter most by their score come first.

    Attributes:
        rows: One per component.
        provenance: Where the numbers come from, as for a `Ranking`, with `method, loss,
            mode, points, repeats, check` and `joint` (for `integrated`: the sum of all
            scores, and the exact effect of all components together).
    """

    FILE: ClassVar[FileKind] = FILE
    ROW: ClassVar[type] = Score

    @property
    def check(self) -> Mapping[str, JSONValue]:
        """Exact effects of some components beside their scores; empty: not asked for.

        Has `n, spearman, low, high, kendall, missed` (names of components whose score
        is wrong) and `components`; for estimates of the effect `largest`, the largest
        disagreement, and `largest_at`, whose it is.
        """
        found = self.provenance.get("check")
        return found if isinstance(found, dict) else {}

    def ordered(self) -> Sequence[Score]:
        return sorted(
            self.rows,
            key=lambda row: (
                math.isnan(row.score),
                -_matters(row, self.provenance),
                row.component,
            ),
        )

    def tables(self) -> Sequence[Table]:
        missed = cast("list[str]", self.check.get("missed") or [])
        columns = (
            (Column("component"), True),
            (Column("score", "signed"), True),
            (Column("interval", "interval"), True),
            (Column("bar", "bar", ""), True),
            (Column("n", "integer"), len({row.n for row in self.rows}) > 1),
            (Column("check"), bool(missed)),
            (Column("note"), any(row.note for row in self.rows)),
        )
        rows = tuple(
            {
                **asdict(row),
                "interval": (row.low, row.high),
                "bar": (row.score, row.low, row.high),
                "check": "missed" if row.component in missed else "",
            }
            for row in self.rows
        )
        shown = tuple(column for column, tells in columns if tells)
        return (Table(self._headline(), shown, rows, self._caption()),)

    def data(self) -> Table:
        columns = tuple(Column(field.name) for field in fields(Score))
        return Table("", columns, tuple(map(asdict, self.rows)))

    def plot(self) -> Figure:
        """Bars of the scores with their intervals."""
        bars = [Bar(r.component, r.score, r.low, r.high) for r in self.rows]
        return bar_chart(bars, title=self._headline(), xlabel=self._method)

    def to_tensorboard(self, logdir: str | os.PathLike[str]) -> None:
        """Writes scores as scalars and as an HParams table, the chart and the table.

        A directory holds one result of its kind and method: writing again replaces it.
        """
        method = self._method
        write_tensorboard(
            logdir,
            kind=f"scores-{method}",
            scalars={f"{method}/{row.component}": row.score for row in self.rows},
            sessions=[
                Session(
                    row.component,
                    {"component": row.component, "method": method},
                    {
                        f"{method}/{part}": cast("float", getattr(row, part))
                        for part in ("score", "low", "high")
                    },
                )
                for row in self.rows
            ],
            figures={f"{method}/scores": self.plot()},
            texts={f"scores/{method}": "\n\n".join(map(markdown, self.tables()))},
        )

    @property
    def _method(self) -> str:
        return str(self.provenance.get("method", ""))

    def _headline(self) -> str:
        origin = self.provenance
        mode = f" of mode {origin.get('mode')!r}" if origin.get("mode") else ""
        samples = max((row.n for row in self.rows), default=0)
        unit = "draws" if self._method == "hessian" else "samples"
        drawn = self._method == "corrected"
        unit, most = (f"{unit} each", "up to ") if drawn else (unit, "")
        return (
            f"{origin.get('model', 'model')}: {self._method}{mode}, "
            f"{origin.get('loss')}; {most}{samples:,} {unit}"
        )

    def _caption(self) -> str:
        lines = [_MEANINGS.get(self._method, "")]
        check: Mapping[str, Any] = self.check
        if check:
            alike = format_value(float(check["spearman"]), "signed")
            line = f"check: Spearman {alike} with exact effects of {check['n']}"
            if "largest" in check:
                gap = format_value(float(check["largest"]), "number")
                line += f"; largest disagreement {gap} at {check['largest_at']}"
            lines.append(f"{line}.")
            if check["missed"]:
                lines.append(
                    f"The score is wrong for {len(check['missed'])} of them: the loss "
                    "bends on the way. Measure with surgery.rank what matters."
                )
        else:
            lines.append("not checked against exact effects.")
        if self.skipped:
            lines.append(f"Skipped: {len(self.skipped)}, listed in .skipped.")
        return "\n".join(lines)


def _matters(row: Score, provenance: Mapping[str, JSONValue]) -> float:
    """What rows are ordered by: the harm, for what is an estimate of a change."""
    if row.method not in SIGNED:
        return row.score
    return harm(row.score, better_of(provenance, str(provenance.get("loss"))))


_MEANINGS = {
    "taylor": "score: the change of the loss per dial at 0 (d loss / d dial).",
    "integrated": "score: the component's part of the effect of all together.",
    "corrected": "score: d loss / d dial, corrected by exact effects on n samples.",
    "fisher": "score: half the mean square of d loss / d dial.",
    "hessian": "score: the trace of the Hessian of the loss in its parameters.",
    "influence": "score: 1 - cosine of what goes in and what comes out.",
}
