"""Graded operations: those with a strength of their own, beside the dial."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

from surgery.errors import OperationError
from surgery.ops._base import AbstractOperation


class AbstractGraded(AbstractOperation):
    """An operation of which there is more and less: noise of a standard deviation.

    Attributes:
        ladder: Levels that show a curve, by default, from weak to strong.
    """

    ladder: ClassVar[Sequence[float]]

    @abstractmethod
    def at(self, level: float) -> Self:
        """The same operation at another level.

        Raises:
            OperationError: There is no such level.
        """

    def strength(self, level: float) -> float:
        """How far a level is from doing nothing, which is 0; more is stronger."""
        return level


def require_share(name: str, value: float) -> None:
    """Refuse what is no share.

    Raises:
        OperationError: It does not lie between 0 and 1.
    """
    if not 0 <= value <= 1:
        raise OperationError(f"{name} is a share: it must lie in [0, 1], got {value}")
