"""What a model costs: parameters, and multiply-adds of one sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from surgery._random import preserved_rng
from surgery.data import batch_length, call_on_inputs


def parameters(model: nn.Module) -> tuple[int, int]:
    """Elements of all parameters, and of those that learn."""
    found = [p for p in model.parameters() if not _is_lazy(p)]
    return sum(p.numel() for p in found), sum(
        p.numel() for p in found if p.requires_grad
    )


def macs(model: nn.Module, inputs: Any) -> int | None:
    """Multiply-adds of one forward, per sample; `None` where they cannot be told."""
    if inputs is None:
        return None
    training = model.training
    try:
        with preserved_rng(), torch.no_grad(), FlopCounterMode(display=False) as count:
            model.eval()
            call_on_inputs(model, inputs)
        return int(count.get_total_flops()) // 2 // max(_samples(inputs), 1)
    except Exception:  # an estimate beside the result: never a reason to fail
        return None
    finally:
        model.train(training)


def _samples(inputs: Any) -> int:
    if isinstance(inputs, Tensor):
        return len(inputs)
    first = next(iter(inputs.values())) if isinstance(inputs, Mapping) else inputs[0]
    return batch_length(first)


def _is_lazy(parameter: nn.Parameter) -> bool:
    return torch.nn.parameter.is_lazy(parameter)
