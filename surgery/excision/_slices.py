"""Heads and channels: smaller weights where all that hang together are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from surgery.anatomy import Component
from surgery.excision._channels import shrink_channels, zero_channels
from surgery.excision._heads import shrink_heads, zero_heads
from surgery.excision._result import How
from surgery.excision._swap import Unfit
from surgery.excision._watch import Watched
from surgery.excision._weights import is_shared, weighted
from surgery.ops import Constant, Edit, Zero

_BACK = "weights are zero; training may change them"


def shrink_or_zero(
    model: nn.Module,
    path: str,
    edits: Sequence[Edit],
    seen: Mapping[str, Watched],
    not_shrunk: str = "",
) -> tuple[How, str]:
    """Take heads or channels of the module at `path` out of the weights.

    Args:
        model: Is changed.
        path: Of the attention, or of the module whose channels they are.
        edits: The operations on them.
        seen: What the example run showed.
        not_shrunk: Why weights must not become smaller, if so.

    Returns:
        How it was done, and a note.

    Raises:
        Unfit: The weights cannot say the same; nothing was changed.
    """
    for edit in edits:
        operation = edit.operation
        zero = isinstance(operation, Zero) or (
            isinstance(operation, Constant) and operation.value == 0
        )
        if not zero or edit.dial != 1 or edit.component.call is not None:
            raise Unfit("only zeros in every call can be put into weights")
    components = [edit.component for edit in edits]
    heads = components[0].kind == "head"
    if len({c.kind for c in components}) > 1:
        raise Unfit("heads and channels of one module at once")
    why = not_shrunk
    if not not_shrunk:
        try:
            shrink = shrink_heads if heads else shrink_channels
            return "shrunk", shrink(model, path, components, seen)
        except Unfit as error:
            why = str(error)
    _require_own(model, components, seen)
    if heads:
        zero_heads(model, components)
    else:
        zero_channels(model.get_submodule(path), components)
    return "zeroed", f"{_BACK}; not shrunk: {why}"


def _require_own(
    model: nn.Module, components: Sequence[Component], seen: Mapping[str, Watched]
) -> None:
    """Refuse to write into weights that something else uses too."""
    for path in weighted(components):
        for name, weight in model.get_submodule(path).named_parameters(recurse=False):
            if is_shared(model, weight):
                raise Unfit(f"its {name} is also a parameter of another module")
            if path in seen and name in seen[path].read:
                raise Unfit(f"code outside of {path} reads its {name}")
