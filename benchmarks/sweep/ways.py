"""Three ways to the same numbers: the loop people write, the same tuned, and ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import surgery

Loader = DataLoader[Any]


def zeroed(module: nn.Module, args: object, output: Tensor) -> Tensor:
    """The hook that such loops use."""
    return torch.zeros_like(output)


def usual(model: nn.Module, loader: Loader, names: Sequence[str]) -> dict[str, float]:
    """A hook and a pass over the loader per component, `.item()` per batch."""
    found: dict[str, float] = {}
    for name in names:
        handle = model.get_submodule(name).register_forward_hook(zeroed)
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
        for name in names:
            handle = model.get_submodule(name).register_forward_hook(zeroed)
            right = torch.zeros((), dtype=torch.long)
            for images, labels in batches:
                right += (model(images).argmax(1) == labels).sum()
            handle.remove()
            found[name] = right.item() / total
    return found


def ours(model: nn.Module, loader: Loader, names: Sequence[str]) -> dict[str, float]:
    """`surgery.rank`, with paired outcomes, intervals and tests on top."""
    ranking = surgery.rank(model, loader, list(names), progress=False)
    return {row.component: row.value for row in ranking}
