"""Leaves: the inputs of a batch, flat, if they are what a graph is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten

from surgery.errors import BackendError
from surgery_backends.fused._marked import MarkedGraph


def leaves_of(
    marked: MarkedGraph, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[Any]:
    """The leaves of inputs, if they are nested as those that the graph is for.

    Raises:
        BackendError: They are not.
    """
    leaves, spec = tree_flatten((tuple(args), dict(kwargs)))
    if spec != marked.in_spec:
        raise BackendError("its inputs are nested otherwise than in the first batch")
    for node, leaf in zip(marked.fields, leaves, strict=True):
        known = node.meta.get("val")
        if isinstance(known, Tensor):
            fits = (
                isinstance(leaf, Tensor)
                and leaf.ndim == known.ndim
                and leaf.dtype == known.dtype
            )
            fits = fits and all(
                not isinstance(size, int) or size == real
                for size, real in zip(known.shape, leaf.shape, strict=True)
            )
        else:
            fits = leaf == known
        if not fits:
            raise BackendError(
                f"its input {node.name} is unlike that of the first batch"
            )
    return leaves
