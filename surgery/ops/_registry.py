"""Building a model anew by its entry in timm's registry.

Many models initialise themselves while they are built, in code that nothing can call
later. A timm model remembers which architecture it is; building that once more runs
the same code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from surgery.ops._owned import ancestors


def rebuilt_by_timm(
    model: nn.Module, path: str, wanted: Mapping[str, Tensor]
) -> dict[str, Tensor] | None:
    """Tensors of `path` from a fresh build of the timm model around it.

    Args:
        model: The whole model, not changed. Fresh random numbers come from the global
            generator.
        path: The module whose tensors are wanted.
        wanted: Those tensors, by their names in the model.

    Returns:
        The tensors by the same names; `None` if no module on the way is a timm model,
        or if its architecture gives other shapes there (it was built with options).
    """
    for prefix, ancestor in ancestors(model, path):
        architecture = _architecture(ancestor)
        if architecture is None:
            continue
        built = _built(architecture, ancestor)
        fresh = {} if built is None else _tensors(built)
        found = {
            name: fresh[short]
            for name, tensor in wanted.items()
            if (short := name.removeprefix(prefix)) in fresh
            and fresh[short].shape == tensor.shape
        }
        return found if found.keys() == wanted.keys() else None
    return None


def _architecture(module: nn.Module) -> str | None:
    if not type(module).__module__.startswith("timm."):
        return None
    found: Any = getattr(module, "pretrained_cfg", None)
    name = found.get("architecture") if isinstance(found, dict) else None
    return cast("str | None", name)


def _built(architecture: str, like: nn.Module) -> nn.Module | None:
    import timm

    if not timm.is_model(architecture):
        return None
    classes = getattr(like, "num_classes", None)
    options: dict[str, Any] = {}
    if isinstance(classes, int):
        options["num_classes"] = classes
    return timm.create_model(architecture, **options)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    parameters: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    return parameters | dict(model.named_buffers(remove_duplicate=False))
