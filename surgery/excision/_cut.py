"""Third means: the reversible operation itself, attached to the copy for good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from torch import nn

from surgery.backend import get_backend
from surgery.errors import OperationError
from surgery.ops import Clock, Edit
from surgery.ops._freeze import is_frozen
from surgery.ops._overlay import is_overlaid


@final
class BuiltInClock(Clock):
    """The clock of operations that stay: a model that has one was excised."""


def require_restored(model: nn.Module) -> None:
    """Refuse a model with an operation in effect: its copy would keep it for good.

    Raises:
        OperationError: There is one, which is not built in.
    """
    clocks = [
        owner
        for module in model.modules()
        for hook in module._forward_pre_hooks.values()
        if isinstance(owner := getattr(hook, "__self__", None), Clock)
    ]
    held = any(map(is_overlaid, [*model.parameters(), *model.buffers()]))
    frozen = any(map(is_frozen, model.parameters()))
    frozen = frozen or any(map(is_frozen, model.modules()))
    if held or frozen or any(not isinstance(c, BuiltInClock) for c in clocks):
        raise OperationError(
            f"an operation is in effect on {type(model).__name__}, and the new model "
            "would keep it for good: restore it first (op.restore(), or leave its "
            "with block), or excise both as one group"
        )


def build_in_cuts(model: nn.Module, edits: Sequence[Edit]) -> None:
    """Attach edits that share a clock; nothing takes them off again.

    They are hooks of picklable classes, which copies and pickles of the model keep.
    """
    if not edits:
        return
    own = {module: set(vars(module)) for module in model.modules()}
    clock = edits[0].clock
    clock.restart()
    clock.watch(model)
    for edit in edits:
        get_backend("auto", edit.component).attach(model, edit.component, edit)
    # What tells code compiled before that a module has changed: nobody has compiled
    # this copy.
    for module, names in own.items():
        for name in ("forward", "_replicate_for_data_parallel"):
            if name in vars(module) and name not in names:
                del module.__dict__[name]
