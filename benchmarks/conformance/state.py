"""Snapshots: everything about a model that restoring must give back, bit for bit."""

from __future__ import annotations

import random
from collections.abc import Callable, Set
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Snapshot:
    """A model as it is now, and how another moment differs from it.

    Tensors are compared as bits, and by identity: a restored value in a new tensor
    would be lost to an optimizer.
    """

    def __init__(self, model: nn.Module) -> None:
        self._tensors, self._modules = look(model)
        self.values = {n: t.detach().clone() for n, t in self._tensors.items()}
        self._keys = list(model.state_dict())

    def changed_tensors(self, model: nn.Module) -> set[str]:
        """Names of tensors whose bits differ from what they were."""
        now, _ = look(model)
        return self._changed(now)

    def _changed(self, now: dict[str, Tensor]) -> set[str]:
        return {
            name
            for name, value in self.values.items()
            if name not in now or not same_bits(now[name], value)
        }

    def differences(self, model: nn.Module) -> list[str]:
        """What differs from how the model was, in words; empty if nothing does."""
        found: list[str] = []
        now, modules = look(model)
        found = [
            f"{name} is another tensor"
            for name in sorted(now.keys() | self._tensors.keys())
            if now.get(name) is not self._tensors.get(name)
        ]
        found += [f"the bits of {name}" for name in sorted(self._changed(now))]
        found += [
            f"flags, attributes or hooks of {name or 'the model'}"
            for name in sorted(modules.keys() | self._modules.keys())
            if modules.get(name) != self._modules.get(name)
        ]
        return found + self.differences_of_keys(model)

    def differences_of_keys(self, model: nn.Module) -> list[str]:
        """Whether `state_dict` has other keys than before, in words."""
        keys = list(model.state_dict())
        return [] if keys == self._keys else ["keys of state_dict"]

    @torch.no_grad()
    def put_back(self, model: nn.Module, names: Set[str]) -> None:
        """Write the values of these tensors back (what a training step moved)."""
        for name, tensor in look(model)[0].items():
            if name in names:
                tensor.copy_(self.values[name])


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors agree in type, shape and every bit, NaN and −0 included."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return torch.equal(_bits(a), _bits(b))


def _bits(x: Tensor) -> Tensor:
    if not x.is_floating_point():
        return x
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    return x.detach().view(integer)


def look(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, object]]:
    """All tensors by name (shared ones under each), and each module's other state.

    One walk, reading the modules' own tables: the checks come here most often.
    """
    tensors: dict[str, Tensor] = {}
    modules: dict[str, object] = {}
    for path, module in model.named_modules():
        content: dict[str, Any] = module.__dict__
        flags: list[object] = [module.training]
        for table in ("_parameters", "_buffers"):
            for name, tensor in content[table].items():
                if tensor is not None:
                    tensors[f"{path}.{name}" if path else name] = tensor
                    flags += [tensor.requires_grad, tensor.grad is None]
        attributes = {
            name: tuple(value) if name.endswith("_hooks") else None
            for name, value in content.items()
        }
        modules[path] = flags, attributes
    return tensors, modules


def generators() -> dict[str, object]:
    """The state of every global random generator."""
    draw: Callable[[], Any] = np.random.get_state
    _, keys, *rest = draw()
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "Python": random.getstate(),
        "numpy": (keys.tobytes(), *rest),
    }
