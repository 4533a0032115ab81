"""Readout: tables of results, read and added to the outcomes batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from surgery.engine._callable import CallableMetric
from surgery.engine._ledger import Key, row_of
from surgery.engine._metric import AbstractMetric
from surgery.engine._scoring import DIFFERS, FAILED, FAR, REFUSED, Scoring
from surgery.engine._swept import Failure, Swept

if TYPE_CHECKING:
    from surgery.engine._resident import Waiting

Tables = Mapping[Hashable, Tensor]


@final
class Readout:
    """Judges batches by their tables, as the sweep judges them by their outputs.

    Args:
        metrics: What was measured.
        swept: What is filled.
        again: Runs a batch in the general way.
        reaches: Whether a variant's own forward differs from the untouched model's.
        names: Of the variants.
    """

    def __init__(
        self,
        metrics: Sequence[AbstractMetric],
        swept: Swept,
        again: Callable[[int, Any], None],
        reaches: Callable[[int, Any, int], bool],
        names: Sequence[str],
    ) -> None:
        self._metrics = metrics
        self._swept = swept
        self._again = again
        self._reaches = reaches
        self._names = names

    def add(self, waiting: Sequence[Waiting], scoring: Scoring, *, exact: bool) -> None:
        """Add these batches, in order.

        Args:
            waiting: The batches.
            scoring: Has their tables.
            exact: Whether outputs are bit for bit those of forwards of their own.
        """
        assert scoring.ledger is not None
        tables = scoring.ledger.read()
        for item in waiting:
            rows = item.size * scoring.rows
            if self._is_doubtful(tables, item.slots, rows):
                self._again(item.number, item.batch)
            else:
                self._add(item, tables, rows, scoring.rows, exact=exact)

    def _is_doubtful(self, tables: Tables, slots: Sequence[int], rows: int) -> bool:
        """Whether a batch needs the general way."""
        first = slots[0]
        if bool(tables[FAILED][0, first, :rows].any()):
            return True
        for place in range(len(self._metrics)):
            refused = tables.get((place, REFUSED))
            if refused is not None and bool(refused[0, first]):
                return True
        return any(
            not _alike(table[:, first, :rows], table[:, other, :rows])
            for other in slots[1:]
            for table in tables.values()
            if table.ndim == 3
        )

    def _add(
        self,
        item: Waiting,
        tables: Tables,
        rows: int,
        per_sample: int,
        *,
        exact: bool,
    ) -> None:
        swept, slot = self._swept, item.slots[0]
        start = sum(swept.batch_sizes)
        swept.batch_sizes.append(item.size)
        for place, outcome in enumerate(swept.baseline):
            outcome.add(self._piece(place, tables, None, slot, rows, None))
        for index, outcomes in enumerate(swept.outcomes):
            if index in swept.refused:
                continue
            if not swept.reached[index]:
                swept.reached[index] = self._reached(item, tables, index, exact=exact)
            failed = tables[FAILED][row_of(index), slot, :rows]
            ill = failed.nonzero().flatten().tolist()
            for row in dict.fromkeys(row // per_sample for row in ill):
                cause = "its output is not finite"
                swept.failures.append(Failure(self._names[index], start + row, cause))
            for place, outcome in enumerate(outcomes):
                marked = failed if ill else None
                outcome.add(self._piece(place, tables, index, slot, rows, marked))

    def _reached(
        self, item: Waiting, tables: Tables, index: int, *, exact: bool
    ) -> bool:
        if DIFFERS not in tables:
            return False
        row = row_of(index)
        slots = list(item.slots)
        if not bool(tables[DIFFERS][row, slots].any()):
            return False
        if exact or bool(tables[FAR][row, slots].any()):
            return True
        return self._reaches(index, item.batch, item.number)

    def _piece(
        self,
        place: int,
        tables: Tables,
        key: Key,
        slot: int,
        rows: int,
        failed: Tensor | None,
    ) -> Any:
        """What the metric's own outcome would have measured of these outputs."""
        row = row_of(key)
        if isinstance(self._metrics[place], CallableMetric):
            named = {
                name[1]: table[row, slot, :rows]
                for name, table in tables.items()
                if isinstance(name, tuple) and name[0] == place
            }
            return named, rows, failed
        values = tables[place, ""][row, slot, :rows]
        return values, _weights(place, tables, slot, rows), failed


def _weights(place: int, tables: Tables, slot: int, rows: int) -> Tensor | None:
    if (place, "weights") not in tables:
        return None
    weights = tables[place, "weights"][0, slot, :rows]
    ignored = tables.get((place, "ignored"))
    if ignored is None or bool(ignored[0, slot]) or weights.dtype != torch.bool:
        return weights
    return None  # all of them count


def _alike(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one.double(), other.double(), rtol=0, atol=0, equal_nan=True)
