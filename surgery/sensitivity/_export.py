"""Exports: proposals in the words of tools that carry them out, as plain values."""

from __future__ import annotations

from torch import Tensor, nn

from surgery.anatomy import unwrap
from surgery.errors import OperationError
from surgery.ops import Prune
from surgery.sensitivity._suggestion import Suggestion, members_of


def bits_by_module(suggestion: Suggestion, model: nn.Module) -> dict[int, list[str]]:
    """The modules to quantise to each number of bits.

    Raises:
        OperationError: The suggestion is not one of bits, or changes a weight that is
            in no module of its own.
    """
    _require(suggestion, "quantize", "bits")
    names: dict[int, list[str]] = {}
    for component, level in suggestion.levels.items():
        names.setdefault(int(level), []).extend(_weighted(unwrap(model), component))
    return names


def kept_channels(suggestion: Suggestion, model: nn.Module) -> dict[str, list[int]]:
    """The output channels that each module keeps; those of smallest norm go.

    Raises:
        OperationError: The suggestion is not one of channels, or changes a weight that
            is in no module of its own.
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


def _weighted(model: nn.Module, row: str) -> list[str]:
    """The modules whose weights of two or more axes a row changes."""
    found: list[str] = []
    for component in members_of(row):
        path = component.removesuffix(".weight")
        mine = [
            name
            for name, module in model.named_modules()
            if (name == path or not path or name.startswith(f"{path}."))
            and isinstance(weight := getattr(module, "weight", None), Tensor)
            and weight.ndim > 1
        ]
        if not mine:
            raise OperationError(
                f"{component} has no module with a weight of two axes or more to tell "
                "a tool of; carry out .levels by hand, or suggest from curves of others"
            )
        found += mine
    return found


def _require(suggestion: Suggestion, perturb: str, what: str) -> None:
    given = str(suggestion.provenance.get("perturb"))
    if given != perturb and not given.startswith(f"{perturb}:"):
        raise OperationError(
            f"this suggestion is of {given!r} and tells no {what}; suggest from "
            f"curves of perturb={perturb!r}"
        )
