"""A fused program for everyone: as a module of torch.fx, apart from any sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn

from surgery.errors import BackendError
from surgery_backends._trial import Trial
from surgery_backends.fused._leaves import leaves_of
from surgery_backends.fused._marked import marked_graph
from surgery_backends.fused._plan import Pass, Plan
from surgery_backends.fused._program import fuse


def fuse_module(
    model: nn.Module,
    trials: Sequence[Trial],
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    together: int | None = None,
) -> fx.GraphModule:
    """One module that evaluates a model and variants, with nothing computed twice.

    The model is left as it is; its tensors are in the module too, under their names.

    Args:
        model: The model, in eval mode.
        trials: The variants (`surgery.ablation.Variant`), prepared.
        args: Inputs like those that the module will be called with.
        kwargs: Keyword inputs, likewise.
        together: How many variants are stacked along the batch. Default: all of them;
            1 for one after the other.

    Returns:
        A module that takes what the model takes, in batches of this size, and gives
        what the model gives, with every tensor `[1 + N, ...]`: the untouched model's
        first, then every variant's in the order of `trials`.

    Raises:
        BackendError: The model has no graph, or it would leave something out.
    """
    if together is not None and together < 1:
        raise BackendError(f"together is a number of variants, at least 1: {together}")
    given = dict(kwargs or {})
    with torch.no_grad():
        marked = marked_graph(model, args, given, trials)
        plan = Plan(model, marked, trials)
        acting = filter(plan.acts, range(len(trials)))
        order = sorted(acting, key=plan.starts.__getitem__)
        size = (together or max(1, len(order))) if marked.any_batch else 1
        chunks = [order[i : i + size] for i in range(0, len(order), size)]
        leaves = leaves_of(marked, args, given)
        return fuse(model, plan, Pass.of(chunks), leaves).module()
