"""Score: what one pass says of one component."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from surgery.errors import OperationError
from surgery.sensitivity._passes import PerSample
from surgery.stats import Evidence, paired_means

Method = Literal["taylor", "integrated", "corrected", "fisher", "hessian", "influence"]

SIGNED = ("taylor", "integrated", "corrected")
"""Methods whose scores tell which way the loss changes."""

CHANGES = (*SIGNED, "fisher")
"""Methods whose scores are estimates of a change of the loss."""


@dataclass(frozen=True)
class Score:
    """A component's score.

    Attributes:
        component: Whose.
        method: By which method.
        score: The mean over samples (for `hessian`, over draws).
        low: Lower end of its interval.
        high: Upper end of its interval.
        n: Samples (draws) it is the mean of.
        p: Probability of a score at least as far from 0 if there were none.
        error: The standard error of the score.
        note: What a user must know.
    """

    component: str
    method: Method
    score: float
    low: float
    high: float
    n: int
    p: float = math.nan
    error: float = math.nan
    note: str = ""


def as_method(method: object) -> Method:
    """The method of this name.

    Raises:
        OperationError: There is none.
    """
    known: Sequence[Method] = get_args(Method)
    for name in known:
        if name == method:
            return name
    raise OperationError(
        f"unknown method {method!r}; there are {', '.join(map(repr, known))}. Without "
        "method=, sensitivity measures curves"
    )


def scored(
    names: Sequence[str],
    notes: Sequence[str],
    method: Method,
    found: PerSample,
    evidence: Evidence,
    seed: int,
) -> list[Score]:
    """Rows with intervals, out of values per sample."""
    values, weights = found.all()
    return [
        _row(name, note, method, mine, weights, evidence, seed)
        for name, note, mine in zip(names, notes, values, strict=True)
    ]


def with_failed(note: str, values: NDArray[np.float64]) -> str:
    """A note that also tells on how many samples values are not finite, if any."""
    failed = int(np.sum(~np.isfinite(values)))
    more = f"not finite on {failed} samples" if failed else ""
    return "; ".join(part for part in (note, more) if part)


def _row(
    name: str,
    note: str,
    method: Method,
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
    evidence: Evidence,
    seed: int,
) -> Score:
    note = with_failed(note, values)
    # Weights, also where they are all 1: values that are 0 or 1 are no proportions.
    effect = paired_means(
        np.zeros_like(values),
        values,
        weights,
        confidence=evidence.confidence,
        seed=seed,
    )
    w = weights / weights.mean()
    spread = w * (values - effect.value)
    n = len(values)
    error = math.sqrt(float(np.sum(spread**2)) / (n - 1) / n) if n > 1 else math.nan
    return Score(
        name, method, effect.value, effect.low, effect.high, n, effect.p, error, note
    )
