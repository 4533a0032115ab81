"""The ledger: what batches give, in tables on the device, until somebody reads them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import final

import torch
from torch import Tensor

Key = int | None
"""A variant's number, or `None` for the untouched model."""


@final
class Ledger:
    """Tables with a row for the untouched model and one per variant.

    Everything is written where a tensor says, so that a recorded write is right for
    other batches too.

    Args:
        variants: How many there are.
        width: Rows of outputs that one batch has.
        slots: Batches that are kept until they are read.
        device: Where they are.
    """

    def __init__(
        self, variants: int, width: int, slots: int, device: torch.device
    ) -> None:
        self.width = width
        self.slots = slots
        self._variants = variants
        self._device = device
        self._tables: dict[Hashable, Tensor] = {}
        self._rows: dict[tuple[Key, ...], Tensor] = {}

    def write(
        self, name: Hashable, keys: Sequence[Key], slot: Tensor, values: Tensor
    ) -> None:
        """Keep values for these keys: one each, or one each per row of outputs.

        Args:
            name: The table.
            keys: Whose values they are.
            slot: Which of the batches, as a tensor.
            values: `(len(keys),)` or `(len(keys), width)`.
        """
        values = values.detach()
        if name not in self._tables:
            shape = 1 + self._variants, self.slots, *values.shape[1:]
            self._tables[name] = torch.zeros(
                shape, dtype=values.dtype, device=self._device
            )
        place = self._places(keys), slot.expand(len(keys))
        self._tables[name].index_put_(place, values)

    def read(self) -> dict[Hashable, Tensor]:
        """All tables, on the CPU: `[row, slot, ...]`; waits until they are written."""
        return {name: table.cpu() for name, table in self._tables.items()}

    def _places(self, keys: Sequence[Key]) -> Tensor:
        asked = tuple(keys)
        if asked not in self._rows:
            rows = [row_of(key) for key in asked]
            self._rows[asked] = torch.tensor(rows, device=self._device)
        return self._rows[asked]


def row_of(key: Key) -> int:
    """Which row of a table is a variant's."""
    return 0 if key is None else key + 1
