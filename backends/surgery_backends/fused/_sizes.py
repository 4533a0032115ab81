"""Sizes: which axis of a value holds the samples, and how long axes are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from surgery.errors import BackendError
from surgery_backends.fused._marked import MarkedGraph, is_number, value_of
from surgery_backends.fused._marks import MARK


class Sizes:
    """The sizes in a graph for one batch, or for several stacked along the batch.

    Args:
        graph: The graph, perhaps for any batch size.
        leaves: The inputs of one batch, leaf by leaf.
    """

    def __init__(self, graph: MarkedGraph, leaves: Sequence[Any]) -> None:
        self._symbols: dict[Any, int] = {}
        self._numbers: dict[tuple[Any, int], int | float] = {}
        self._axes: dict[fx.Node, int | None] = {}
        self._lengths: dict[fx.Node, int] = {}
        self._bytes: dict[fx.Node, int] = {}
        for node, leaf in zip(graph.fields, leaves, strict=True):
            known = value_of(node)
            if isinstance(known, Tensor):
                sizes: list[Any] = list(known.shape)
                for size, real in zip(sizes, leaf.shape, strict=True):
                    if _is_symbol(size):
                        self._symbols[size.node.expr] = int(real)

    def number(self, value: Any, times: int = 1) -> Any:
        """A size, or what is computed of sizes, in a stack of so many variants."""
        if not isinstance(value, (torch.SymInt, torch.SymFloat)):
            return value
        key: tuple[Any, int] = value.node.expr, times
        if key not in self._numbers:
            given = {symbol: n * times for symbol, n in self._symbols.items()}
            found: Any = key[0].subs(given)
            if not found.is_number:
                raise BackendError(
                    f"its graph has a size that depends on data ({found})"
                )
            whole = isinstance(value, torch.SymInt)
            self._numbers[key] = int(found) if whole else float(found)
        return self._numbers[key]

    def axis(self, node: fx.Node) -> int | None:
        """The one axis of its tensor that holds the samples; `None` for any other."""
        if node not in self._axes:
            value = value_of(node)
            axes = batch_axes(value) if isinstance(value, Tensor) else []
            self._axes[node] = axes[0] if len(axes) == 1 else None
        return self._axes[node]

    def length(self, node: fx.Node) -> int:
        """How long that axis is for one variant."""
        if node not in self._lengths:
            axis = self.axis(node)
            assert axis is not None
            self._lengths[node] = int(self.number(value_of(node).shape[axis]))
        return self._lengths[node]

    def nbytes(self, node: fx.Node) -> int:
        """How much memory its tensors take for one variant."""
        if node not in self._bytes:
            self._bytes[node] = sum(
                math.prod(int(self.number(n)) for n in x.shape) * x.element_size()
                for x in tensors_of(node)
            )
        return self._bytes[node]


def batch_axes(value: Tensor) -> list[int]:
    """The axes whose lengths depend on the number of samples."""
    return [i for i, size in enumerate(value.shape) if isinstance(size, torch.SymInt)]


def treats_samples_alike(node: fx.Node) -> bool:
    """Whether a call gives and takes tensors with at most one axis of samples."""
    # Batch norms give empty tensors too, in the place of what only training needs.
    given = [len(batch_axes(x)) for x in tensors_of(node) if not _is_empty(x)]
    taken = [len(batch_axes(x)) for n in operands(node) for x in tensors_of(n)]
    return all(n == 1 for n in given) and all(n <= 1 for n in taken)


def tensors_of(node: fx.Node) -> list[Tensor]:
    """The tensors that a node gives."""
    value = value_of(node)
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (tuple, list)):
        return [x for x in value if isinstance(x, Tensor)]
    return []


def operands(node: fx.Node) -> list[fx.Node]:
    """The nodes of tensors that a node takes."""
    return [n for n in node.all_input_nodes if not is_number(n)]


def divergence(graph: MarkedGraph, seeds: Mapping[fx.Node, int]) -> dict[fx.Node, int]:
    """In which variants each node's value differs from the baseline's, as bits.

    Args:
        graph: The graph.
        seeds: The variants that begin to differ at a node.
    """
    found = {node: seeds.get(node, 0) for node in (*graph.held, *graph.fields)}
    for node in graph.nodes:
        args: tuple[Any, ...] = node.args
        bits = seeds.get(node, 0)
        if args and isinstance(args[0], fx.Node) and args[0].target is MARK:
            # An operation gives all leaves anew; else each is what it was.
            mark: Any = args[0]
            bits |= seeds.get(mark, 0) | found.get(mark.args[0][args[1]], 0)
        else:
            for operand in operands(node):
                bits |= found.get(operand, 0)
        found[node] = 0 if is_number(node) else bits
    return found


def _is_empty(value: Tensor) -> bool:
    return any(isinstance(size, int) and size == 0 for size in value.shape)


def _is_symbol(size: Any) -> bool:
    return isinstance(size, torch.SymInt) and bool(size.node.expr.is_Symbol)
