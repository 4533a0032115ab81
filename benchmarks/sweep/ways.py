"""Three ways to the same numbers: the loop people write, the same tuned, and ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.hooks import RemovableHandle

import surgery

Loader = DataLoader[Any]
BASELINE = ""


def zeroed(module: nn.Module, args: object, output: Tensor) -> Tensor:
    """The hook that such loops use."""
    return torch.zeros_like(output)


def untouched(module: nn.Module, args: object, output: Tensor) -> None:
    """For the baseline, which every way measures too."""


def usual(model: nn.Module, loader: Loader, names: Sequence[str]) -> dict[str, float]:
    """A hook and a pass over the loader per component, `.item()` per batch."""
    found: dict[str, float] = {}
    for name in (BASELINE, *names):
        handle = _cut(model, name)
        right = total = 0
        with torch.no_grad():
            for images, labels in loader:
                right += (model(images).argmax(1) == labels).sum().item()
                total += len(labels)
        handle.remove()
        found[name] = right / total
    return found


def tuned(model: nn.Module, loader: Loader, names: Sequence[str]) -> dict[str, float]:
    """The same with the data loaded once, in inference mode, one read at the end."""
    batches = list(loader)
    total = sum(len(labels) for _, labels in batches)
    found: dict[str, float] = {}
    with torch.inference_mode():
        for name in (BASELINE, *names):
            handle = _cut(model, name)
            right = torch.zeros((), dtype=torch.long)
            for images, labels in batches:
                right += (model(images).argmax(1) == labels).sum()
            handle.remove()
            found[name] = right.item() / total
    return found


def ours(model: nn.Module, loader: Loader, names: Sequence[str]) -> dict[str, float]:
    """`surgery.rank`, with paired outcomes, intervals and tests on top."""
    ranking = surgery.rank(model, loader, list(names), progress=False)
    found = {row.component: row.value for row in ranking}
    return {BASELINE: ranking.rows[0].baseline, **found}


def _cut(model: nn.Module, name: str) -> RemovableHandle:
    part = model.get_submodule(name)
    return part.register_forward_hook(zeroed if name else untouched)
