"""Third means: the reversible operation itself, attached to the copy for good."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from surgery.backend import get_backend
from surgery.ops import Edit


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
