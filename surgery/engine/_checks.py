"""Checks: what is to be seen in labels, left on their device until somebody asks."""

from __future__ import annotations

from typing import final

from torch import Tensor


@final
class Checks:
    """What a formula would have looked at, on one batch.

    Attributes:
        refused: Whether it would have refused the labels.
        ignored: Whether it would have left out positions.
    """

    def __init__(self) -> None:
        self.refused: Tensor | None = None
        self.ignored: Tensor | None = None

    def refuse(self, where: Tensor) -> None:
        """Refuse the labels if this is true."""
        self.refused = where if self.refused is None else self.refused | where
