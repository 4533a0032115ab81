"""compare: what an excision saved, in parameters, multiply-adds and measured time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from surgery.anatomy import mapped, record, tensors
from surgery.excision._example import undisturbed
from surgery.report import Column, Table, render, to_pandas

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = (
    Column("quantity"),
    Column("before", "number"),
    Column("after", "number"),
    Column("saved", "percent"),
)


@dataclass(frozen=True)
class Saved:
    """One quantity before and after.

    Attributes:
        quantity: `parameters`, `multiply-adds` or `latency (ms)`.
        before: Of the model as it was.
        after: Of the excised one.
    """

    quantity: str
    before: float
    after: float

    @property
    def saved(self) -> float:
        """The share of `before` that is gone; negative where it grew."""
        return 1 - self.after / self.before if self.before else 0.0


@dataclass(frozen=True)
class Comparison:
    """Two models on the same input; prints as a table.

    Attributes:
        parameters: Elements of all parameters.
        macs: Multiply-adds of one forward, batch included.
        latency: Milliseconds of one forward: the median of runs in turn.
    """

    parameters: Saved
    macs: Saved
    latency: Saved

    def __iter__(self) -> Iterator[Saved]:
        return iter((self.parameters, self.macs, self.latency))

    def __str__(self) -> str:
        return render(self._table())

    def __repr__(self) -> str:
        return str(self)

    def to_pandas(self) -> pd.DataFrame:
        """One line per quantity."""
        return to_pandas(self._table())

    def _table(self) -> Table:
        rows = tuple({**vars(row), "saved": row.saved} for row in self)
        return Table("Before and after", _COLUMNS, rows)


def compare(
    before: nn.Module,
    after: nn.Module,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    repeat: int = 20,
) -> Comparison:
    """Measure two models on the same input.

    Both are left as they were. The runs take turns, so that what else the machine does
    falls on both alike; the first of each is not counted.

    Args:
        before: The model as it was.
        after: The excised one.
        *inputs: Positional inputs of both.
        kwargs: Keyword inputs.
        repeat: How many runs of each are timed.
    """
    given = dict(kwargs or {})
    macs = [record(model, inputs, given).facts[""].macs for model in (before, after)]
    times: tuple[list[float], list[float]] = ([], [])
    with undisturbed(before), undisturbed(after):
        for turn in range(max(repeat, 1) + 1):
            for model, found in zip((before, after), times, strict=True):
                args, named = mapped((inputs, given), torch.clone)
                _wait(args)
                start = time.perf_counter()
                model(*args, **named)
                _wait(args)
                if turn:
                    found.append(1000 * (time.perf_counter() - start))
    return Comparison(
        Saved("parameters", _count(before), _count(after)),
        Saved("multiply-adds", *macs),
        Saved("latency (ms)", *map(statistics.median, times)),
    )


def _count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _wait(value: object) -> None:
    if torch.accelerator.is_available() and any(
        x.device.type != "cpu" for x in tensors(value)
    ):
        torch.accelerator.synchronize()
