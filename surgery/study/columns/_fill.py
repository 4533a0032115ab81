"""What stands in a feature's place where it stays but tells nothing."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from surgery._random import derive
from surgery.errors import StudyError


class Fill:
    """Values for features that are neutralised.

    The mean is that of the first data which holds the feature, for all splits alike:
    otherwise its difference between them would tell something.
    """

    def __init__(self, how: str, seed: int) -> None:
        self.how = how
        self._seed = seed
        self._means: dict[str, Any] = {}

    def order(self, name: str, length: int) -> np.ndarray[Any, Any]:
        """A permutation, the same whenever it is asked for again."""
        seed = derive(self._seed, "shuffle", name, length)
        return np.random.default_rng(seed).permutation(length)

    def mean(self, name: str, values: Any) -> Any:
        if name not in self._means:
            self._means[name] = values()
        return self._means[name]

    def column(self, name: str, column: Any) -> Any:
        """What a frame's column becomes."""
        if self.how == "shuffle":
            return column.to_numpy()[self.order(name, len(column))]
        if _is_number(column):
            fill = 0 if self.how == "zero" else self.mean(name, lambda: column.mean())
            return fill
        if self.how == "zero":
            raise StudyError(
                f"feature {name!r} is of {column.dtype}, which has no zero; write "
                "remove='mean' for its most frequent value, or remove='drop'"
            )
        return self.mean(name, lambda: column.mode().iloc[0])

    def array(self, name: str, part: Any) -> Any:
        """What a part of an array, samples along its first axis, becomes."""
        if self.how == "shuffle":
            order = self.order(name, len(part))
            return part[torch.from_numpy(order)] if _is_tensor(part) else part[order]
        if self.how == "zero":
            return _like(part, 0.0)
        mean = self.mean(name, lambda: _average(part))
        return _like(part, mean)


def _is_number(column: Any) -> bool:
    return bool(column.dtype.kind in "biuf")


def _is_tensor(part: object) -> bool:
    return isinstance(part, Tensor)


def _average(part: Any) -> float:
    if _is_tensor(part):
        return float(cast("Tensor", part).double().mean())
    return float(np.mean(part))


def _like(part: Any, value: float) -> Any:
    if _is_tensor(part):
        return torch.full_like(cast("Tensor", part), value)
    return np.full_like(part, value)
