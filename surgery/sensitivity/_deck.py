"""Deck: which row each sample does without, drawn so that all rows get their share."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray


@final
class Deck:
    """Deals rows in a drawn order, all of them before any comes again.

    Args:
        rows: How many there are.
        seed: Of the order.
    """

    def __init__(self, rows: int, seed: int) -> None:
        self._rows = rows
        self._generator = np.random.default_rng(seed)
        self._left: list[int] = []

    def deal(self, samples: int, forwards: int) -> list[NDArray[np.int64]]:
        """For each forward over a batch, the row that each sample does without.

        A row comes in one forward only, on a drawn share of the samples, so that a
        forward has few rows; where there are more rows than samples in all forwards,
        those left over come in the next batch.
        """
        hand = self._hand(min(self._rows, samples * forwards))
        return [
            mine[self._generator.permutation(samples) % len(mine)]
            for mine in np.array_split(hand, forwards)
        ]

    def _hand(self, size: int) -> NDArray[np.int64]:
        """So many rows, none twice."""
        hand, self._left = self._left[:size], self._left[size:]
        if len(hand) < size:
            cards = [int(card) for card in self._generator.permutation(self._rows)]
            fresh = [card for card in cards if card not in hand][: size - len(hand)]
            self._left = [card for card in cards if card not in fresh]
            hand += fresh
        return np.array(hand, dtype=np.int64)
