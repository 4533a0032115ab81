"""Blocks: states of a torchmetrics metric over contiguous runs of samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surgery.engine._packing import Packed, pack

MAX_BLOCKS = 200
ROW = 4096
"""States of up to so many numbers are rows of one table, made once for all blocks."""

Rule = Literal["sum", "mean", "max", "min", "cat", "keep"]
"""How states of two runs of samples become one; `"keep"` is for lists of anything."""


@dataclass(frozen=True)
class Reduction:
    """What torchmetrics does with one state of several processes.

    Attributes:
        rule: How runs of samples merge.
        listed: Whether the state is a list.
    """

    rule: Rule
    listed: bool = False


State = dict[str, Any]
"""By attribute: a `Packed` (sum, mean, max, min) or a list of tensors."""


@final
class Blocks:
    """At most 200 blocks, and at least 50 once there are 50 samples.

    Blocks start with one sample each, or with as many as `total` samples need. When
    there are more than 200, neighbours merge and blocks hold twice as many from then
    on. States merge as torchmetrics merges those of several processes.
    """

    def __init__(
        self, reductions: Mapping[str, Reduction], total: int | None = None
    ) -> None:
        self._reductions = reductions
        self.size = max(1, -(-(total or 0) // MAX_BLOCKS))
        self._states: list[State] = []
        self.counts: list[int] = []
        # Small tensors that stay, made between large ones that go, would leave the heap
        # full of holes: gigabytes with a hundred variants.
        self._rows: dict[str, Tensor] = {}
        self._sums: dict[str, _Sum] = {}

    def __len__(self) -> int:
        return len(self._states)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(rows.nbytes for rows in self._rows.values()) + sum(
            value.nbytes
            if isinstance(value, Packed)
            else sum(
                item.numel() * item.element_size()
                for item in value
                if isinstance(item, Tensor)
            )
            for state in self._states
            for value in state.values()
        )

    def runs(self, length: int, ahead: int = 0) -> Iterator[tuple[int, int]]:
        """Cut a batch into runs that each fall into one block.

        Args:
            length: Of the batch.
            ahead: Samples that are to be appended before it.
        """
        place, size, start = sum(self.counts) + ahead, self.size, 0
        while start < length:
            while place + start > MAX_BLOCKS * size:  # by then they have merged
                size *= 2
            stop = min(length, start + size - (place + start) % size)
            yield start, stop
            start = stop

    def append(self, values: Mapping[str, Any], count: int) -> None:
        """Add a run's states."""
        self._sums.clear()
        place = len(self.counts)
        grows = bool(self.counts) and self.counts[-1] < self.size
        if grows:
            place -= 1
        state: State = {}
        for name, reduction in self._reductions.items():
            if rows := self._rows_for(name, reduction, values[name]):
                row = values[name].detach().cpu()
                if grows:
                    counts = [self.counts[place], count]
                    row = _combine(reduction.rule, [rows[0][place], row], counts)
                rows[0][place] = row
            else:
                state[name] = self._taken(reduction, values[name])
        if grows:
            self._states[place] = self._merged(
                self._states[place], self.counts[place], state, count
            )
            self.counts[place] += count
        else:
            self._states.append(state)
            self.counts.append(count)
        if len(self.counts) > MAX_BLOCKS:
            self._double()

    def state(self, indices: NDArray[np.intp]) -> dict[str, Any]:
        """States of these blocks together, as a metric would hold them."""
        return {
            name: self._reduced(name, reduction, indices)
            for name, reduction in self._reductions.items()
        }

    def forget(self) -> None:
        """Free what was kept to make sums fast."""
        self._sums.clear()

    def _rows_for(self, name: str, reduction: Reduction, value: Any) -> list[Tensor]:
        """The table of this state, if it has one."""
        if reduction.rule in ("cat", "keep") or value.numel() > ROW:
            return []
        if name not in self._rows:
            shape = MAX_BLOCKS + 1, *value.shape
            self._rows[name] = torch.zeros(shape, dtype=value.dtype)
        return [self._rows[name]]

    def _double(self) -> None:
        states, counts = self._states, self.counts
        for name, rows in self._rows.items():
            rule = self._reductions[name].rule
            for at in range(0, len(counts), 2):
                pair = counts[at : at + 2]
                rows[at // 2] = _combine(rule, list(rows[at : at + len(pair)]), pair)
        self._states, self.counts = [], []
        for at in range(0, len(counts), 2):
            state, count = states[at], counts[at]
            if at + 1 < len(counts):
                state = self._merged(state, count, states[at + 1], counts[at + 1])
                count += counts[at + 1]
            self._states.append(state)
            self.counts.append(count)
        self.size *= 2

    def _taken(self, reduction: Reduction, value: Any) -> Any:
        if reduction.rule == "cat":
            items = value if isinstance(value, list) else [value]
            return _joined([item.detach().cpu() for item in items])
        if reduction.rule == "keep":
            return [_kept(item) for item in value]
        return pack(value)

    def _merged(self, one: State, n: int, other: State, m: int) -> State:
        merged: State = {}
        for name in one:
            reduction = self._reductions[name]
            a, b = one[name], other[name]
            if reduction.rule == "cat":
                merged[name] = _joined([*a, *b])
            elif reduction.rule == "keep":
                merged[name] = [*a, *b]
            else:
                merged[name] = pack(
                    _combine(reduction.rule, [a.unpack(), b.unpack()], [n, m])
                )
        return merged

    def _reduced(
        self, name: str, reduction: Reduction, indices: NDArray[np.intp]
    ) -> Any:
        rows = self._rows.get(name)
        if reduction.rule == "sum":
            if name not in self._sums:
                self._sums[name] = (
                    _Sum([state[name] for state in self._states])
                    if rows is None
                    else _Sum.of_rows(rows[: len(self.counts)])
                )
            return self._sums[name](indices)
        if rows is not None:
            counts = [self.counts[index] for index in indices]
            return _combine(reduction.rule, list(rows[indices]), counts)
        chosen = [self._states[index][name] for index in indices]
        if reduction.rule in ("cat", "keep"):
            items = [item for block in chosen for item in block]
            return _as_state(reduction, items)
        counts = [self.counts[index] for index in indices]
        return _combine(reduction.rule, [item.unpack() for item in chosen], counts)


@final
class _Sum:
    """Sums of one state over any multiset of blocks, in double precision."""

    @classmethod
    def of_rows(cls, rows: Tensor) -> _Sum:
        """Sums of a table's rows."""
        return cls([Packed(row, None, row.shape, row.dtype) for row in rows])

    def __init__(self, states: list[Packed]) -> None:
        first = states[0]
        self._shape, self._dtype = first.shape, first.dtype
        self._sparse = any(state.indices is not None for state in states)
        work = torch.complex128 if first.dtype.is_complex else torch.float64
        if not self._sparse:
            stacked = [state.unpack().reshape(-1) for state in states]
            self._values = torch.stack(stacked).to(work)
            return
        values, places, blocks = [], [], []
        for index, state in enumerate(states):
            places.append(_places(state))
            values.append(state.values.reshape(-1).to(work))
            blocks.append(torch.full_like(places[-1], index))
        self._values, self._places = torch.cat(values), torch.cat(places)
        self._blocks, self._count = torch.cat(blocks), len(states)

    def __call__(self, indices: NDArray[np.intp]) -> Tensor:
        length = self._count if self._sparse else len(self._values)
        times = torch.from_numpy(np.bincount(indices, minlength=length))
        times = times.to(self._values.dtype)
        if self._sparse:
            total = torch.zeros(self._shape.numel(), dtype=self._values.dtype)
            total.index_add_(0, self._places, self._values * times[self._blocks])
        else:
            total = times @ self._values
        return total.to(self._dtype).reshape(self._shape)


def _places(state: Packed) -> Tensor:
    if state.indices is not None:
        return state.indices.long()
    return torch.arange(state.shape.numel())


def _combine(rule: Rule, values: list[Tensor], counts: list[int]) -> Tensor:
    stacked = torch.stack(values)
    if rule == "sum":
        return stacked.sum(0).to(values[0].dtype)
    if rule == "max":
        return stacked.amax(0)
    if rule == "min":
        return stacked.amin(0)
    weights = torch.tensor(counts, dtype=torch.float64)
    mean = torch.tensordot(weights / weights.sum(), stacked.double(), dims=1)
    return torch.as_tensor(mean, dtype=values[0].dtype)


def _kept(item: Any) -> Any:
    return item.detach().cpu().clone() if isinstance(item, Tensor) else item


def _joined(items: list[Tensor]) -> list[Tensor]:
    """Many small tensors as one, which is what `"cat"` makes of them in the end."""
    if len(items) < 2 or any(item.ndim == 0 for item in items):
        return items
    return [torch.cat(items)]


def _as_state(reduction: Reduction, items: list[Any]) -> Any:
    if reduction.listed:
        return items
    return torch.cat([torch.atleast_1d(item) for item in items])
