"""The metrics that have names: each name's formula, direction and fate of failures."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping

import numpy as np

from surgery.engine._block_metric import BlockMetric
from surgery.engine._feeds import ScoresFeed
from surgery.engine._formulas import AbstractFormula, Correct, CrossEntropy, Distance
from surgery.engine._metric import AbstractMetric
from surgery.engine._pairs import PairsMetric, Score, pearson, r2, spearman
from surgery.engine._per_sample import PerSampleMetric, Transform
from surgery.errors import DataError

NAMES = (
    *("accuracy", "accuracy@5", "error_rate"),
    *("precision", "precision:macro", "recall", "recall:macro", "f1", "f1:macro"),
    *("cross_entropy", "perplexity"),
    *("mse", "rmse", "mae", "r2", "spearman", "pearson"),
)

_ACCURACY = re.compile(r"accuracy@([1-9][0-9]*)")

# formula, higher is better, value of a failed sample, transform of the mean
_MEANS: Mapping[
    str, tuple[Callable[[], AbstractFormula], bool, float | None, Transform | None]
] = {
    "accuracy": (lambda: Correct("accuracy"), True, 0.0, None),
    "error_rate": (lambda: Correct("error_rate", wrong=True), False, 1.0, None),
    "cross_entropy": (lambda: CrossEntropy("cross_entropy"), False, None, None),
    "perplexity": (lambda: CrossEntropy("perplexity"), False, None, np.exp),
    "mse": (lambda: Distance("mse", 2), False, None, None),
    "rmse": (lambda: Distance("rmse", 2), False, None, np.sqrt),
    "mae": (lambda: Distance("mae", 1), False, None, None),
}
_PAIRS: Mapping[str, Score] = {"r2": r2, "pearson": pearson, "spearman": spearman}


def named_direction(name: str) -> bool:
    """Whether higher is better; raises for a name that is none."""
    if name in _MEANS:
        return _MEANS[name][1]
    if name in NAMES or _ACCURACY.fullmatch(name):
        return True
    near = difflib.get_close_matches(name, NAMES, n=3, cutoff=0.4)
    meant = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
    raise DataError(
        f"unknown metric {name!r}{meant} The names are {', '.join(NAMES)}; others can "
        "be given as a torchmetrics metric or a callable (outputs, labels)"
    )


def named_metric(name: str, group: str, higher_is_better: bool) -> AbstractMetric:
    """Make the metric of a name."""
    top = _ACCURACY.fullmatch(name)
    if top:
        formula = Correct(name, int(top[1]))
        return PerSampleMetric(name, group, higher_is_better, formula, 0.0)
    if name in _MEANS:
        make, _, on_failure, transform = _MEANS[name]
        return PerSampleMetric(
            name, group, higher_is_better, make(), on_failure, transform
        )
    if name in _PAIRS:
        return PairsMetric(name, group, higher_is_better, _PAIRS[name])
    kind, _, average = name.partition(":")
    feed = ScoresFeed(name, kind, average == "macro")
    return BlockMetric(name, group, higher_is_better, feed)
