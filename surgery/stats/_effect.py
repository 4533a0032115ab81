"""Evidence and Effect: how to judge, and what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from surgery.errors import DataError

Correction = Literal["holm", "bonferroni", "bh", "none"]


@dataclass(frozen=True)
class Evidence:
    """How to judge a variant against the baseline.

    Attributes:
        confidence: Level of all intervals; verdicts are decided at 1 - confidence.
        correction: Correction for many comparisons: `"holm"` and `"bonferroni"`
            bound the chance of any false verdict, `"bh"` (Benjamini-Hochberg) the
            expected share of false ones, `"none"` corrects nothing.
    """

    confidence: float = 0.95
    correction: Correction = "holm"

    def __post_init__(self) -> None:
        if not _is_number(self.confidence) or not 0 < self.confidence < 1:
            raise DataError(
                f"confidence must lie between 0 and 1, got {self.confidence!r}; "
                "write Evidence(confidence=0.95)"
            )
        if self.correction not in get_args(Correction):
            known = ", ".join(repr(name) for name in get_args(Correction))
            raise DataError(
                f"unknown correction {self.correction!r}; it is one of {known}"
            )


@dataclass(frozen=True)
class Effect:
    """A variant's metric against the baseline's.

    Attributes:
        baseline: The baseline's metric.
        value: The variant's metric; not finite if the variant failed.
        delta: Value minus baseline.
        low: Lower end of the interval of delta.
        high: Upper end of the interval of delta.
        p: Probability of a difference at least as large if there were none,
            before any correction; NaN if the data cannot tell.
        n: Number of samples compared.
        method: The test and the interval, in words.
    """

    baseline: float
    value: float
    delta: float
    low: float
    high: float
    p: float
    n: int
    method: str


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
