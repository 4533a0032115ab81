"""Layers of weights: which axis of a weight makes channels, which reads them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from surgery.anatomy import Component

_SIZES = {
    nn.Linear: ("out_features", "in_features"),
    nn.Conv2d: ("out_channels", "in_channels"),
}


def is_layer(module: nn.Module) -> bool:
    """Whether it is a plain product with its weight: all inputs with all outputs."""
    if type(module) is nn.Conv2d:
        return module.groups == 1
    return type(module) is nn.Linear or is_transposed(module)


def is_transposed(module: nn.Module) -> bool:
    """Whether it is Hugging Face's Conv1D: a Linear whose weight is (in, out)."""
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def makers(layer: Any) -> int:
    """How many outputs a layer has."""
    return int(layer.weight.shape[1 if is_transposed(layer) else 0])


def keep_made(layer: Any, kept: Tensor) -> None:
    """Leave a layer only these outputs."""
    set_parameter(layer, "weight", _picked(layer, kept, made=True))
    if layer.bias is not None:
        set_parameter(layer, "bias", layer.bias[kept])
    _tell_size(layer, 0, len(kept))


def keep_read(layer: Any, kept: Tensor) -> None:
    """Leave a layer only these inputs."""
    set_parameter(layer, "weight", _picked(layer, kept, made=False))
    _tell_size(layer, 1, len(kept))


def set_parameter(module: nn.Module, name: str, value: Tensor) -> None:
    """Give a module a parameter of another size."""
    old: nn.Parameter = getattr(module, name)
    fresh = value.detach().clone()
    setattr(module, name, nn.Parameter(fresh, requires_grad=old.requires_grad))


def is_shared(model: nn.Module, weight: Tensor) -> bool:
    """Whether a parameter, or one in the same memory, is registered more than once."""
    memory = weight.untyped_storage().data_ptr()
    places = [
        x
        for module in model.modules()
        for x in module._parameters.values()
        if x is weight
        or (x is not None and memory and x.untyped_storage().data_ptr() == memory)
    ]
    return len(places) > 1


def weighted(components: Sequence[Component]) -> list[str]:
    """Paths of the modules whose weights make channels, or read heads."""
    found: dict[str, None] = {}
    for component in components:
        if component.kind == "channel":
            found[component.path] = None
        elif component.kind == "head" and component.place is not None:
            found |= {site.path: None for site in component.place.sites}
    return list(found)


def numbers(components: Sequence[Component]) -> set[int]:
    """The heads or channels that components mean, by number."""
    parts = [c.slice for c in components if c.slice is not None]
    return {n for part in parts for n in range(part.first, part.last + 1)}


def others(size: int, gone: Iterable[int]) -> Tensor:
    """The numbers below `size` but those."""
    out = set(gone)
    return torch.tensor([n for n in range(size) if n not in out], dtype=torch.long)


def _picked(layer: Any, kept: Tensor, *, made: bool) -> Tensor:
    axis = 0 if made != is_transposed(layer) else 1
    weight: Tensor = layer.weight
    return weight.index_select(axis, kept.to(weight.device))


def _tell_size(layer: Any, which: int, size: int) -> None:
    names = ("nf", "nx") if is_transposed(layer) else _SIZES[type(layer)]
    setattr(layer, names[which], size)
