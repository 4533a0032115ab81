"""Heads of attentions whose coupled weights are known: fewer of them, or zeros."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from surgery.anatomy import Component
from surgery.excision._swap import Unfit
from surgery.excision._trial import require_same
from surgery.excision._watch import Watched
from surgery.excision._weights import (
    is_layer,
    is_shared,
    is_transposed,
    keep_made,
    keep_read,
    makers,
    numbers,
    others,
    set_parameter,
)

_TABLE = "relative_position_bias_table"


@dataclass(frozen=True)
class _Layout:
    """How one make of attention keeps its heads.

    Attributes:
        joint: Name of the layer that gives queries, keys and values, head by head.
        out: Name of the layer that reads the heads side by side.
        sizes: Attributes that say how many numbers all heads have together.
        other: Modules that do not depend on the number of heads.
    """

    joint: str
    out: str
    sizes: tuple[str, ...]
    other: tuple[str, ...] = ()


# timm's Attention and Swin's WindowAttention; Hugging Face's GPT2Attention.
_LAYOUTS = (
    _Layout("qkv", "proj", ("attn_dim",), ("q_norm", "k_norm")),
    _Layout("c_attn", "c_proj", ("split_size",)),
)


def shrink_heads(
    model: nn.Module,
    path: str,
    components: Sequence[Component],
    seen: Mapping[str, Watched],
) -> str:
    """Make an attention one of fewer heads.

    Raises:
        Unfit: It is of a make that is not known; nothing was changed.
    """
    attention: Any = model.get_submodule(path)
    layout = next((x for x in _LAYOUTS if hasattr(attention, x.joint)), None)
    if layout is None:
        raise Unfit("how this attention keeps its heads is not known")
    heads, size = _checked(attention, layout)
    kept = others(heads, numbers(components))
    if not len(kept):
        raise Unfit("no head would be left")
    for layer in (getattr(attention, layout.joint), getattr(attention, layout.out)):
        if any(is_shared(model, weight) for weight in layer.parameters()):
            raise Unfit("its weights are also parameters of another module")

    def smaller(attention: nn.Module) -> None:
        _keep(attention, layout, kept, heads, size)

    def zeroed(attention: nn.Module) -> None:
        zero_heads(attention, components, path)

    require_same(attention, seen[path], smaller, zeroed)
    smaller(attention)
    return f"{len(kept)} of {heads} heads left"


def _keep(attention: Any, layout: _Layout, kept: Tensor, heads: int, size: int) -> None:
    columns = (kept[:, None] * size + torch.arange(size)).flatten()
    keep_made(getattr(attention, layout.joint), _thrice(columns, heads * size))
    keep_read(getattr(attention, layout.out), columns)
    if hasattr(attention, _TABLE):
        set_parameter(attention, _TABLE, getattr(attention, _TABLE)[:, kept])
    attention.num_heads = len(kept)
    for name in layout.sizes:
        if hasattr(attention, name):
            setattr(attention, name, len(columns))


def zero_heads(
    model: nn.Module, components: Sequence[Component], within: str = ""
) -> None:
    """Set the weights that read the heads' outputs to zero.

    Args:
        model: Is changed: the model, or the part of it at the path `within`.
        components: The heads.
        within: Where that part is in the model.

    Raises:
        Unfit: They are not the weights of one module; nothing was changed.
    """
    places: list[tuple[Tensor, int, tuple[tuple[int, int], ...]]] = []
    for component in components:
        if component.place is None:
            raise Unfit("where its output goes is not known")
        for site in component.place.sites:
            if not f"{site.path}.".startswith(f"{within}." if within else ""):
                raise Unfit(f"{site.path}, which is not in it, reads its heads")
            module = model.get_submodule(site.path[len(within) :].lstrip("."))
            weight = getattr(module, "weight", None)
            known = is_layer(module) and isinstance(weight, nn.Parameter)
            if not known or weight is None or site.axis is None:
                raise Unfit(f"what {site.path} makes of it is not weight by weight")
            places.append((weight, 0 if is_transposed(module) else 1, site.pieces))
    with torch.no_grad():
        for weight, axis, pieces in places:
            for first, last in pieces:
                weight.narrow(axis, first, last - first + 1).zero_()


def _checked(attention: Any, layout: _Layout) -> tuple[int, int]:
    """Number of heads and size of each, if all that depends on them is known."""
    joint, out = getattr(attention, layout.joint), getattr(attention, layout.out, None)
    heads = getattr(attention, "num_heads", None)
    if not (isinstance(out, nn.Module) and is_layer(joint) and is_layer(out)):
        raise Unfit(f"it has no plain {layout.joint} and {layout.out}")
    if not isinstance(heads, int) or makers(joint) % (3 * heads):
        raise Unfit("its queries, keys and values differ in size")
    size = makers(joint) // (3 * heads)
    own = {name for name, _ in attention.named_parameters(recurse=False)}
    table = getattr(attention, _TABLE, None)
    if own - {_TABLE} or (table is not None and table.shape[1:] != (heads,)):
        raise Unfit(f"its {', '.join(own)} may depend on the heads")
    for name, child in attention.named_children():
        sizes = {p.numel() for p in child.parameters()}
        if name in layout.other and not sizes - {size}:
            continue
        if sizes and name not in (layout.joint, layout.out):
            raise Unfit(f"its {name} may depend on the heads")
    return heads, size


def _thrice(columns: Tensor, step: int) -> Tensor:
    return torch.cat([columns, columns + step, columns + 2 * step])
