"""Parts: what is taken out, and how a loop without `surgery` takes it out.

A residual branch is zeroed at the module that ends it, and a head in what goes into the
projection after it: what a hook can reach. No hook reaches a skip; there the loops use
`surgery.ablate` too, one component at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

import surgery

BRANCHES: Mapping[str, str] = {
    "resnet18": r"layer\d\.\d\.bn2",
    "resnet50": r"layer\d\.\d\.bn3",
    "swin_t": r"layers\.\d\.blocks\.\d\.drop_path[12]",
    "vit_s": r"blocks\.\d+\.drop_path[12]",
    "convnext_t": r"stages\.\d\.blocks\.\d\.drop_path",
    "densenet121": r"features\.denseblock\d\.denselayer\d+",
    "gpt2": r"transformer\.h\.\d+\.(attn\.resid_dropout|mlp\.dropout)",
    "tiny": r"layer\d\.\d\.bn3",
}
"""The modules that end residual branches; of DenseNet its layers."""

PROJECTIONS = ("proj", "c_proj")
"""What the module after the heads is called in an attention module."""


@dataclass(frozen=True)
class Part:
    """One thing to take out.

    Attributes:
        target: Its name for `surgery`.
        path: The module that a loop hooks; empty where no hook reaches it.
        features: The features of that module's input, for a head.
    """

    target: str
    path: str = ""
    features: tuple[int, int] | None = None

    def cut(self, model: nn.Module) -> Callable[[], None]:
        """Take it out the way a loop does; what is returned puts it back."""
        if not self.path:
            return surgery.ablate(model, self.target).restore
        module = model.get_submodule(self.path)
        if self.features is None:
            return module.register_forward_hook(zeroed).remove
        return module.register_forward_pre_hook(_Headless(self.features)).remove


def zeroed(module: nn.Module, args: object, output: Any) -> Any:
    """The hook of every loop."""
    return tree_map_only(Tensor, torch.zeros_like, output)


def zero_features(x: Tensor, features: tuple[int, int]) -> Tensor:
    """A copy in which one head's features are zero."""
    x = x.clone()
    x[..., features[0] : features[1]] = 0
    return x


def parts_of(model: nn.Module, name: str, parts: str, x: Tensor) -> list[Part]:
    """The parts of a case.

    Args:
        model: The model.
        name: What `models.py` calls it.
        parts: `branches`, `skips`, `leaves` or `heads`.
        x: A batch for it.
    """
    if parts == "heads":
        return list(_heads(model))
    found = surgery.components(model, x)
    if parts == "skips":
        return [Part(str(c)) for c in found if c.kind == "skip"]
    called = [c.path for c in found if c.kind == "module" and c.facts and c.facts.calls]
    if parts == "branches":
        return [Part(p, p) for p in called if re.fullmatch(BRANCHES[name], p)]
    leaves = {p for p, m in model.named_modules() if not any(m.children())}
    return [Part(p, p) for p in called if p in leaves]


def _heads(model: nn.Module) -> list[Part]:
    found: list[Part] = []
    for path, module in model.named_modules():
        count = getattr(module, "num_heads", None)
        inner = [
            n for n in PROJECTIONS if isinstance(getattr(module, n, None), nn.Module)
        ]
        if not isinstance(count, int) or not inner:
            continue
        projection: Any = getattr(module, inner[0])
        width = projection.weight.shape[1 if inner[0] == "proj" else 0] // count
        found += [
            Part(f"{path}:head#{k}", f"{path}.{inner[0]}", (k * width, (k + 1) * width))
            for k in range(count)
        ]
    return found


class _Headless:
    """Hands a module its input without one head."""

    def __init__(self, features: tuple[int, int]) -> None:
        self._features = features

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return zero_features(args[0], self._features), *args[1:]
