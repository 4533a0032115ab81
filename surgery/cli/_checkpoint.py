"""A checkpoint file -> a model's weights; nothing in the file is executed."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from surgery.errors import SurgeryError

# Where training scripts put the weights, and what wrappers put before their names.
_NESTS = ("state_dict", "model_state_dict", "model", "net", "module", "weights")
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
SHOWN = 3


def load_checkpoint(model: nn.Module, path: Path) -> None:
    """Loads every weight of `model` from a safetensors or `torch.save` file.

    Common nestings (`{"state_dict": ...}`) and prefixes (`module.`) are taken off;
    any other difference from the model's own names and shapes is an error.
    """
    state = _unprefixed(_unnested(_read(path), path), set(model.state_dict()))
    own = model.state_dict()
    problems = [
        _listed("lacks", [k for k in own if k not in state]),
        _listed("has the unknown", [k for k in state if k not in own]),
        _listed(
            "differs in shape at",
            [
                f"{k} {_shape(state[k])} for {_shape(own[k])}"
                for k in own
                if k in state and state[k].shape != own[k].shape
            ],
        ),
    ]
    if any(problems):
        raise SurgeryError(
            f"{path} is not of this model: it {'; it '.join(filter(None, problems))}; "
            "give the options the model was trained with, such as ?num_classes=10"
        )
    model.load_state_dict(state)


def _read(path: Path) -> object:
    if not path.is_file():
        raise SurgeryError(f"there is no checkpoint {path}; give an existing file")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise SurgeryError(
                f"{path} is not a whole safetensors file ({error}); save it again"
            ) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SurgeryError(
            f"{path} cannot be read as weights alone ({first}); it is damaged or holds "
            "code: save model.state_dict(), or use safetensors"
        ) from error


def _unnested(found: object, path: Path) -> dict[str, Tensor]:
    while isinstance(found, Mapping):
        items = cast("Mapping[Any, object]", found)
        if items and all(isinstance(value, Tensor) for value in items.values()):
            return {str(key): cast(Tensor, value) for key, value in items.items()}
        nests = [key for key in _NESTS if isinstance(items.get(key), Mapping)]
        if not nests:
            break
        found = items[nests[0]]
    keys = (
        ", ".join(map(str, list(found)[:SHOWN])) if isinstance(found, Mapping) else ""
    )
    raise SurgeryError(
        f"{path} holds no weights by name, but a {type(found).__name__}"
        f"{f' with {keys}' if keys else ''}; save model.state_dict()"
    )


def _unprefixed(state: dict[str, Tensor], own: set[str]) -> dict[str, Tensor]:
    while not own & set(state):
        prefix = next(
            (p for p in _PREFIXES if state and all(k.startswith(p) for k in state)),
            None,
        )
        if prefix is None:
            break
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _listed(verb: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{verb} {', '.join(names[:SHOWN])}{more}"


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
