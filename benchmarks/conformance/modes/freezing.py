"""Freezing, checked where it matters: in a training step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.conformance.state import Snapshot


@dataclass(frozen=True)
class Step:
    """What one training step would move.

    Attributes:
        trained: Names of parameters that got a gradient.
        moved: Names of buffers whose bits changed (running statistics).
    """

    trained: frozenset[str]
    moved: frozenset[str]


def train_step(
    model: nn.Module, run: Callable[[], list[Tensor]], snapshot: Snapshot
) -> Step:
    """Forward and backward in train mode, then gradients dropped and eval mode again.

    Buffers are put back as the snapshot has them; the global generators stay as they
    were (dropout draws from them).
    """
    try:
        model.train()
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            losses = [x.square().sum() for x in run() if x.requires_grad]
            if losses:  # nothing is left to train where everything is frozen
                torch.stack(losses).sum().backward()
        grads = {n for n, p in shared_names(model) if p.grad is not None}
        changed = snapshot.changed_tensors(model)
    finally:
        model.zero_grad(set_to_none=True)
        model.eval()
    snapshot.put_back(model, changed)
    return Step(frozenset(grads), frozenset(changed))


def shared_names(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Named parameters, a shared one under each of its names."""
    return model.named_parameters(remove_duplicate=False)


def frozen_names(model: nn.Module, path: str) -> set[str]:
    """Names of every parameter and buffer that freezing the module at `path` holds.

    A parameter that two modules share counts under each of its names.
    """
    part = model.get_submodule(path)
    held = {id(p) for p in part.parameters()} | {id(b) for b in part.buffers()}
    tensors = [
        *shared_names(model),
        *model.named_buffers(remove_duplicate=False),
    ]
    return {name for name, tensor in tensors if id(tensor) in held}


def faults_of_freezing(base: Step, now: Step, held: set[str]) -> list[str]:
    """How a training step under `freeze` differs from what it must be, in words."""
    found = [f"{name} got a gradient" for name in sorted(now.trained & held)]
    found += [f"{name} moved" for name in sorted(now.moved & held)]
    lost = (base.trained | base.moved) - held - (now.trained | now.moved)
    found += [f"{name}, outside of it, no longer learns" for name in sorted(lost)]
    return found
