"""Floating-point operations of a program, counted on its graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

from surgery.anatomy import flop_counter
from surgery_backends.fused._marked import MarkedGraph, is_number, value_of
from surgery_backends.fused._marks import MARK
from surgery_backends.fused._sizes import Sizes


def flops_by_node(
    graph: MarkedGraph, sizes: Sizes
) -> tuple[dict[fx.Node, int], list[str]]:
    """What each node costs one variant, and functions of which that is not known.

    Functions run on tensors without data, so that whatever torch counts is counted.
    Operations themselves count as nothing.
    """
    found: dict[fx.Node, int] = {}
    unknown: list[str] = []

    def stand_in(value: Any) -> Any:
        if isinstance(value, Tensor):
            shape = [int(sizes.number(n)) for n in value.shape]
            return torch.empty(shape, dtype=value.dtype, device="meta")
        return sizes.number(value)

    def argument(node: fx.Node) -> Any:
        known = value_of(node)
        if isinstance(known, (tuple, list)):
            return [stand_in(x) for x in known]
        return stand_in(known)

    for node in graph.nodes:
        if is_number(node) or node.target is MARK or not _may_count(node):
            continue
        target: Any = node.target
        with flop_counter() as counter:
            args, kwargs = fx.map_arg((node.args, node.kwargs), argument)
            try:
                target(*args, **{**kwargs, **_on_meta(kwargs)})
            except (RuntimeError, NotImplementedError):  # it needs data
                unknown.append(str(target))
                continue
        found[node] = int(counter.get_total_flops())
    return found, list(dict.fromkeys(unknown))


def _may_count(node: fx.Node) -> bool:
    """Whether torch may count something for it: products, in whatever form."""
    name = str(getattr(node.target, "__name__", node.target))
    return any(word in name for word in _PRODUCTS)


_PRODUCTS = ("mm", "conv", "linear", "matmul", "attention", "einsum", "mv", "dot")


def _on_meta(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {"device": "meta"} if "device" in kwargs else {}
