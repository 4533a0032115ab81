"""One forward of a model on a batch, and what matters in what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from surgery.anatomy import unwrap
from surgery.data import batch_length, call_on_inputs
from surgery.errors import DataError

Step = Callable[[nn.Module, Any], tuple[Any, Any]]


def default_step(model: nn.Module, batch: Any) -> tuple[Any, Any]:
    """Run a model on a batch `(x, y)` or on a mapping with `labels`.

    `x` may be a tensor, a tuple of positional or a mapping of keyword arguments. Of
    a Hugging Face causal language model, whose labels are its own input ids, logits
    and labels are shifted by one, as its loss does.

    Returns:
        The outputs as the model gave them, and the labels.
    """
    if isinstance(batch, Mapping):
        fields = dict(cast("Mapping[str, Any]", batch))
        if "labels" not in fields:
            raise DataError(
                f"the batch has no 'labels' but {sorted(map(str, fields))}; rename the "
                "field, or give step=lambda model, batch: (outputs, labels)"
            )
        labels = fields.pop("labels")
        if _is_encoder_decoder(unwrap(model)):
            # The decoder's inputs are made of the labels.
            return model(**fields, labels=labels), labels
        return _shifted(model, model(**fields), labels)
    if isinstance(batch, (tuple, list)):
        pair = cast("list[Any]", batch)
        if len(pair) == 2:
            x, y = pair
            outputs = call_on_inputs(model, x, y)
            if isinstance(x, Mapping):
                return _shifted(model, outputs, y)
            return outputs, y
        found = f"a {type(pair).__name__} of {len(pair)}"
    else:
        found = f"a {type(batch).__name__}"
    raise DataError(
        f"a batch is {found}, neither a pair (x, y) nor a mapping with 'labels'; give "
        "step=lambda model, batch: (outputs, labels)"
    )


def main_output(outputs: Any) -> Tensor:
    """Find the tensor that metrics look at.

    A tensor is itself; of an object or mapping with `logits`, those; of any other
    tuple, list or mapping, its first floating point tensor.
    """
    found = _find(outputs)
    if found is None:
        raise DataError(
            f"found no floating point tensor in outputs of type "
            f"{type(outputs).__name__}; give step=lambda model, batch: (tensor, labels)"
        )
    return found


def failed_samples(outputs: Any) -> Tensor:
    """Tell per sample whether its outputs are unusable.

    That is: a NaN, a +inf, or nothing but -inf (single -inf logits mask classes).
    Lists with one mapping per sample, as of detectors, are told item by item.
    """
    if isinstance(outputs, (list, tuple)):
        items = cast("list[Any]", outputs)
        if items and all(isinstance(item, Mapping) for item in items):
            return torch.stack([_item_failed(item) for item in items])
    tensor = _find(outputs)
    if tensor is None or tensor.ndim == 0:
        return torch.zeros(batch_length(outputs), dtype=torch.bool)
    rows = tensor.detach().reshape(len(tensor), -1)
    if not rows.shape[1]:
        return torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
    # The maximum is NaN where any is NaN, inf where any is inf, and -inf where all
    # are: one reduction tells all three. A minimum is not looked at.
    return ~torch.isfinite(rows.amax(dim=1))


def _item_failed(item: Mapping[Any, Any]) -> Tensor:
    tensors = [value for value in item.values() if isinstance(value, Tensor)]
    floats = [tensor for tensor in tensors if tensor.is_floating_point()]
    device = tensors[0].device if tensors else torch.device("cpu")
    bad = torch.zeros((), dtype=torch.bool, device=device)
    for tensor in floats:
        bad = bad | ~torch.isfinite(tensor).all()
    return bad


def _find(outputs: Any) -> Tensor | None:
    if isinstance(outputs, Tensor):
        return outputs
    logits = getattr(outputs, "logits", None)
    if logits is None and isinstance(outputs, Mapping):
        logits = outputs.get("logits")
    if isinstance(logits, Tensor):
        return logits
    if isinstance(outputs, Mapping):
        items = list(outputs.values())
    elif isinstance(outputs, (list, tuple)):
        items = list(cast("list[Any]", outputs))
    else:
        return None
    for item in items:
        found = _find(item)
        if found is not None and found.is_floating_point():
            return found
    return None


def _shifted(model: nn.Module, outputs: Any, labels: Any) -> tuple[Any, Any]:
    if not isinstance(labels, Tensor) or not _is_causal(unwrap(model)):
        return outputs, labels
    logits = main_output(outputs)
    if logits.shape[:-1] != labels.shape or labels.ndim != 2:
        return outputs, labels
    return logits[:, :-1], labels[:, 1:]


def _is_causal(model: nn.Module) -> bool:
    config, can_generate = (
        getattr(model, "config", None),
        getattr(model, "can_generate", None),
    )
    if config is None or not callable(can_generate):
        return False
    return bool(can_generate()) and not _is_encoder_decoder(model)


def _is_encoder_decoder(model: nn.Module) -> bool:
    return bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
