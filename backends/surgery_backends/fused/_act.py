"""Operations as functions of a fused program."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from surgery.ops import Edit
from surgery_backends.fused._marks import Mark


class ActFailed(Exception):
    """An operation failed in a variant, which is then run by itself."""

    def __init__(self, variant: int) -> None:
        super().__init__(variant)
        self.variant = variant


class Act:
    """Operations at one mark, as a function of the program."""

    def __init__(self, variant: int, mark: Mark, edits: Sequence[Edit]) -> None:
        self._variant = variant
        self._mark = mark
        self.edits = tuple(edits)

    def __call__(self, outputs: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
        try:
            for edit in self.edits:
                outputs = self._mark.act(edit, outputs, inputs)
        except Exception as error:
            raise ActFailed(self._variant) from error
        return outputs
