"""The forms of data that features are found in, told apart without importing them."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from torch import Tensor


def is_frame(value: object) -> bool:
    """Whether it is a pandas DataFrame, which is not imported for the question."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def is_array(value: object) -> bool:
    return isinstance(value, Tensor | np.ndarray)


def is_plain_sequence(value: object) -> bool:
    return isinstance(value, list | tuple)


def is_record(value: object) -> bool:
    """Whether it is a dataclass instance, whose fields may hold data."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def labels_of(items: Sequence[Any]) -> int | None:
    """Where the labels are in a pair (inputs, labels); `None` if it is no such pair.

    Two arrays of one length whose rows have the same form are two splits instead.
    """
    if len(items) != 2 or not (is_array(items[0]) or is_frame(items[0])):
        return None
    first, second = items
    if not (is_array(second) or is_frame(second) or hasattr(second, "__len__")):
        return 1
    if is_array(first) and is_array(second):
        if first.ndim == 0 or second.ndim == 0:
            return 1
        if len(first) == len(second):
            return 1 if first.shape[1:] != second.shape[1:] else None
        return None
    return 1 if not is_frame(second) else None


def rebuilt(like: Any, items: list[Any]) -> Any:
    """A list, tuple or named tuple of the same class with other items."""
    if isinstance(like, tuple):
        cls = cast("type[Any]", type(like))
        return cls._make(items) if hasattr(cls, "_make") else cls(items)
    return type(like)(items)
