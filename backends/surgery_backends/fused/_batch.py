"""A batch as evaluators see it: inputs of the model, and what kind they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten


@dataclass(frozen=True)
class Batch:
    """Inputs of the model, their leaves, and what kind of inputs they are."""

    kind: Any
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    leaves: Sequence[Any]

    @property
    def size(self) -> int:
        """The number of samples."""
        return length_of(self.leaves)

    @property
    def shape(self) -> tuple[Any, int]:
        """The kind, and the number of samples."""
        return self.kind, self.size

    def wait(self) -> None:
        """Until everything is computed that was asked for."""
        for leaf in self.leaves:
            if isinstance(leaf, Tensor) and leaf.is_cuda:
                torch.cuda.synchronize(leaf.device)


def kind_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What a graph depends on of its inputs: everything but values and samples."""
    leaves, spec = tree_flatten((tuple(args), dict(kwargs)))
    kinds = [
        (x.dtype, tuple(x.shape[1:]), x.device) if isinstance(x, Tensor) else repr(x)
        for x in leaves
    ]
    return str(spec), tuple(kinds)


def length_of(leaves: Sequence[Any]) -> int:
    """How many samples there are."""
    return next((len(x) for x in leaves if isinstance(x, Tensor) and x.ndim), 0)


def doubled(leaf: Any) -> Any:
    """A sample as two."""
    if isinstance(leaf, Tensor) and leaf.ndim and len(leaf) == 1:
        return torch.cat([leaf, leaf])
    return leaf
