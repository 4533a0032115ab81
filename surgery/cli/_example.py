"""One input for a model, to record a forward with when there is no data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn

from surgery.cli._images import image_format
from surgery.errors import SurgeryError

Inputs = tuple[tuple[object, ...], dict[str, object]]


def example_inputs(
    model: nn.Module, shape: str | None = None, side: int | None = None
) -> Inputs:
    """Positional and keyword arguments for one forward of `model`.

    An input of `shape` (as in `"1,3,224,224"`) if given; else token ids for a text
    model of transformers, else one image as the model takes it.
    """
    if shape is not None:
        return (_noise(_parsed(shape)),), {}
    dummy: object = getattr(model, "dummy_inputs", None)
    form = image_format(model, side)
    if form is None and isinstance(dummy, Mapping):
        named = cast("Mapping[str, Any]", dummy)
        return (), {name: value[:1] for name, value in named.items()}
    if form is None:
        raise SurgeryError(
            f"cannot tell what a {type(model).__name__} takes, for it has no image "
            "layer; say so with --input-shape 1,16"
        )
    return (_noise((1, form.channels, *form.size)),), {}


def _parsed(shape: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(size) for size in shape.replace("x", ",").split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise SurgeryError(
            f"--input-shape {shape!r} is not a shape; write sizes, as in 1,3,224,224"
        )
    return sizes


def _noise(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))
