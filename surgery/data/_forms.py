"""Forms: a batch taken apart into its tensors, and what is left without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surgery.data._samples import as_tensor, rebuild
from surgery.errors import DataError

_PLAIN = (int, float, complex, str, bytes, bool, type(None), torch.dtype, torch.device)


@dataclass(frozen=True)
class _Place:
    """Stands for a tensor."""

    index: int


@dataclass(frozen=True)
class Form:
    """What batches have in common that differ in their tensors' values only.

    Attributes:
        kind: Containers and plain values.
        shapes: Of the tensors.
        dtypes: Of the tensors.
    """

    kind: Any
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[torch.dtype, ...]
    template: Any = field(compare=False, repr=False)

    def filled(self, tensors: Sequence[Tensor]) -> Any:
        """The batch of this form with these tensors."""
        return _filled(self.template, tensors)

    def shortened(self, length: int, shorter: int) -> Form:
        """The form of a batch of fewer samples."""
        shapes = tuple(
            (shorter, *shape[1:]) if shape[:1] == (length,) else shape
            for shape in self.shapes
        )
        return Form(self.kind, shapes, self.dtypes, self.template)


def taken_apart(batch: Any) -> tuple[list[Tensor], Form]:
    """The tensors of a batch, arrays among them, and its form.

    Raises:
        DataError: There is something else in it whose values cannot be compared.
    """
    found: list[Tensor] = []
    template = _taken(batch, found)
    shapes = tuple(tuple(x.shape) for x in found)
    return found, Form(_kind(template), shapes, tuple(x.dtype for x in found), template)


def _taken(item: Any, found: list[Tensor]) -> Any:
    if isinstance(item, np.ndarray) and item.dtype.kind in "biufc":
        item = as_tensor(item)
    if isinstance(item, Tensor):
        found.append(item)
        return _Place(len(found) - 1)
    if isinstance(item, (Mapping, list, tuple)):
        return rebuild(item, lambda part: _taken(part, found))
    if isinstance(item, _PLAIN):
        return item
    raise DataError(f"a batch holds a {type(item).__name__}")


def _filled(item: Any, tensors: Sequence[Tensor]) -> Any:
    if isinstance(item, _Place):
        return tensors[item.index]
    if isinstance(item, (Mapping, list, tuple)):
        return rebuild(item, lambda part: _filled(part, tensors))
    return item


def _kind(item: Any) -> Any:
    if isinstance(item, Mapping):
        return type(item), tuple((key, _kind(part)) for key, part in item.items())
    if isinstance(item, (list, tuple)):
        return type(item), tuple(map(_kind, item))
    return type(item), item  # 1, 1.0 and True are not the same
