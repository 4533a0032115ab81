"""Exports: proposals in the words of tools that carry them out, as plain values."""

from __future__ import annotations

from torch import Tensor, nn

from surgery.anatomy import unwrap
from surgery.errors import OperationError
from surgery.ops import Prune
from surgery.sensitivity._suggestion import Suggestion


def bits_by_module(suggestion: Suggestion, model: nn.Module) -> dict[int, list[str]]:
    """The modules to quantise to each number of bits.

    Raises:
        OperationError: The suggestion is not one of bits.
    """
    _require(suggestion, "quantize", "bits")
    names: dict[int, list[str]] = {}
    for component, level in suggestion.levels.items():
        names.setdefault(int(level), []).extend(_weighted(unwrap(model), component))
    return names


def kept_channels(suggestion: Suggestion, model: nn.Module) -> dict[str, list[int]]:
    """The output channels that each module keeps; those of smallest norm go.

    Raises:
        OperationError: The suggestion is not one of channels.
    """
    _require(suggestion, "prune:structured", "channels")
    inner = unwrap(model)
    kept: dict[str, list[int]] = {}
    for component, share in suggestion.levels.items():
        for path in _weighted(inner, component):
            weight = inner.get_submodule(path).weight
            assert isinstance(weight, Tensor)
            left = Prune(share, structured=True).kept(weight.detach())
            kept[path] = [int(channel) for channel in left.nonzero()]
    return kept


def _weighted(model: nn.Module, component: str) -> list[str]:
    """The modules at and below a component whose weights have two or more axes."""
    path = component.removesuffix(".weight")
    found: list[str] = []
    for name, module in model.named_modules():
        weight: object = getattr(module, "weight", None)
        inside = name == path or not path or name.startswith(f"{path}.")
        if inside and isinstance(weight, Tensor) and weight.ndim > 1:
            found.append(name)
    return found


def _require(suggestion: Suggestion, perturb: str, what: str) -> None:
    given = str(suggestion.provenance.get("perturb"))
    if given != perturb and not given.startswith(f"{perturb}:"):
        raise OperationError(
            f"this suggestion is of {given!r} and tells no {what}; suggest from "
            f"curves of perturb={perturb!r}"
        )
