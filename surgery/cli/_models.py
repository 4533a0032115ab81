"""MODEL on the command line -> a model in eval mode, with its weights."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from torch import nn

from surgery.cli._checkpoint import load_checkpoint
from surgery.cli._spec import Spec, call_factory, parse_spec
from surgery.errors import SurgeryError


def load_model(
    text: str, *, pretrained: bool = False, checkpoint: Path | None = None
) -> nn.Module:
    """Builds the model that `text` names and loads its weights.

    `timm:NAME`, `torchvision:NAME`, `hf:NAME` or `package.module:factory`, each with
    `?option=value&...` for keyword arguments.
    """
    spec = parse_spec(text)
    if not spec.name:
        raise SurgeryError(
            f"{text!r} does not name a model; write timm:NAME, torchvision:NAME, "
            "hf:NAME or package.module:factory"
        )
    build = _BUILDERS.get(spec.scheme, _build_own)
    model = build(spec, pretrained, checkpoint is not None)
    if checkpoint is not None:
        load_checkpoint(model, checkpoint)
    return model.eval()


def _build_timm(spec: Spec, pretrained: bool, checkpoint: bool) -> nn.Module:
    import timm

    if not timm.is_model(spec.name):
        known = timm.list_models()
        raise SurgeryError(
            f"timm has no model {spec.name!r}{_nearest(spec.name, known)}; "
            "timm.list_models() names all"
        )
    options: dict[str, Any] = {"pretrained": pretrained, **spec.options}
    try:
        model: nn.Module = timm.create_model(spec.name, **options)
    except Exception as error:
        raise _not_built(spec, error) from error
    return model


def _build_torchvision(spec: Spec, pretrained: bool, checkpoint: bool) -> nn.Module:
    from torchvision import models

    known = models.list_models()
    if spec.name not in known:
        raise SurgeryError(
            f"torchvision has no model {spec.name!r}{_nearest(spec.name, known)}; "
            "torchvision.models.list_models() names all"
        )
    options: dict[str, Any] = dict(spec.options)
    if pretrained:
        options.setdefault("weights", "DEFAULT")
    if "weights" not in options:
        # Detection and segmentation would fetch a backbone's weights otherwise.
        options["weights"] = None
        if "backbone" in _parameters(models.get_model_builder(spec.name)):
            options.setdefault("weights_backbone", None)
    try:
        model: nn.Module = models.get_model(spec.name, **options)
    except Exception as error:
        raise _not_built(spec, error) from error
    return model


def _build_hf(spec: Spec, pretrained: bool, checkpoint: bool) -> nn.Module:
    try:
        import transformers
    except ImportError as error:
        raise SurgeryError(
            "hf: models need transformers; pip install 'torch-surgery[hf]'"
        ) from error

    options: dict[str, Any] = dict(spec.options)
    auto: Any = _auto_class(transformers, str(options.pop("task", "")))
    fresh = checkpoint or options.get("weights", "") is None
    options.pop("weights", None)
    try:
        if fresh:
            config = transformers.AutoConfig.from_pretrained(spec.name, **options)
            model: nn.Module = auto.from_config(config)
        else:
            model = auto.from_pretrained(spec.name, **options)
    except (OSError, ValueError) as error:
        raise SurgeryError(
            f"cannot get {spec.name!r} from disk or the Hugging Face hub "
            f"({_first_line(error)}); give the folder of a saved model, or connect; "
            "for the architecture alone, with random weights: ?weights=none"
        ) from error
    return model


def _build_own(spec: Spec, pretrained: bool, checkpoint: bool) -> nn.Module:
    if pretrained:
        raise SurgeryError(
            f"--pretrained says nothing to {spec.scheme}:{spec.name}; load the weights "
            "in that function, or give them with --checkpoint FILE"
        )
    model = call_factory(spec, "model")
    if not isinstance(model, nn.Module):
        raise SurgeryError(
            f"{spec.scheme}:{spec.name} gave a {type(model).__name__}, not a model; "
            "let it return a torch.nn.Module"
        )
    return model


_BUILDERS = {"timm": _build_timm, "torchvision": _build_torchvision, "hf": _build_hf}


def _auto_class(transformers: Any, task: str) -> object:
    if not task:
        return transformers.AutoModel
    prefix = "AutoModelFor"
    names = {n[len(prefix) :].lower(): n for n in dir(transformers) if prefix in n}
    wanted = task.replace("-", "").replace("_", "").lower()
    if wanted not in names:
        raise SurgeryError(
            f"transformers has no task {task!r}{_nearest(wanted, list(names))}; "
            "write for instance ?task=image-classification"
        )
    return getattr(transformers, names[wanted])


def _parameters(builder: object) -> str:
    import inspect

    return str(inspect.signature(builder)) if callable(builder) else ""


def _nearest(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=3)
    return f"; nearest: {', '.join(near)}" if near else ""


def _not_built(spec: Spec, error: Exception) -> SurgeryError:
    options = ", ".join(f"{k}={v!r}" for k, v in spec.options.items()) or "no options"
    return SurgeryError(
        f"{spec.scheme} could not build {spec.name!r} with {options}: "
        f"{_first_line(error)}; mend the options after '?', and without a network "
        "leave --pretrained out and give --checkpoint FILE"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
