"""Everything about a model that a removed operation must have left as it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as globals_of_modules
from torch.overrides import (
    _get_current_function_mode_stack,  # pyright: ignore[reportPrivateUsage]  # no public way
)


@dataclass(frozen=True)
class Snapshot:
    """A model's attributes, hook tables, state and outputs, as comparable values."""

    found: dict[str, object]

    def differences(self, other: Snapshot) -> list[str]:
        """What is not as in the other, in words."""
        names = dict.fromkeys((*self.found, *other.found))
        return [
            f"{name} was {_shown(self.found.get(name))} and is "
            f"{_shown(other.found.get(name))}"
            for name in names
            if not _same(self.found.get(name), other.found.get(name))
        ]


def snapshot(model: nn.Module, outputs: list[Tensor]) -> Snapshot:
    """Take one.

    Args:
        model: Its attributes, hooks and state.
        outputs: What it gives on a fixed batch.
    """
    found: dict[str, object] = {}
    for path, module in model.named_modules():
        where = repr(path) if path else "the model"
        attributes: dict[str, Any] = vars(module)
        found[f"class of {where}"] = type(module).__name__
        found[f"attributes of {where}"] = sorted(attributes)
        for name, value in attributes.items():
            if isinstance(value, dict) and "hooks" in name:
                found[f"{name} of {where}"] = len(value)  # pyright: ignore
        found[f"training of {where}"] = module.training
    state = model.state_dict()
    found["keys of state_dict"] = list(state)
    found |= {f"value of {key}": tensor.clone() for key, tensor in state.items()}
    found |= {f"output {i}": tensor for i, tensor in enumerate(outputs)}
    found["function modes in effect"] = len(_get_current_function_mode_stack())
    found["global hooks"] = sum(
        len(table)
        for name, table in vars(globals_of_modules).items()
        if name.startswith("_global_") and isinstance(table, dict)
    )
    return Snapshot(found)


def _same(a: object, b: object) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and torch.equal(a, b)
    return type(a) is type(b) and bool(a == b)


def _shown(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of sum {float(value.double().sum()):.17g}"
    return repr(value)
