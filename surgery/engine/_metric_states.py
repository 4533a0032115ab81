"""States of torchmetrics' metrics: how they merge, and where they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from surgery.engine._blocks import Reduction, Rule

if TYPE_CHECKING:
    from torchmetrics import Metric


def reductions_of(metric: Metric) -> dict[str, Reduction]:
    """How each state merges; nothing if some do not, or if there are none."""
    from torchmetrics.utilities import data

    rules: dict[Any, Rule] = {
        data.dim_zero_sum: "sum",
        data.dim_zero_mean: "mean",
        data.dim_zero_max: "max",
        data.dim_zero_min: "min",
        data.dim_zero_cat: "cat",
    }
    reductions: dict[str, Reduction] = {}
    for name, function in metric._reductions.items():
        listed = isinstance(metric._defaults[name], list)
        rule = rules.get(function)
        if listed and rule != "cat":
            rule = "keep"
        if rule is None:
            return {}
        reductions[name] = Reduction(rule, listed)
    return reductions


def move_to_data(metric: Metric, *arguments: Any) -> None:
    """Have a metric on the device of what it is to be updated with."""
    tensor = next((item for item in arguments if isinstance(item, Tensor)), None)
    if tensor is None:
        tensor = _first_tensor(arguments)
    device = torch.device("cpu") if tensor is None else tensor.device
    if metric.device != device:
        metric.to(device)


def _first_tensor(item: Any) -> Tensor | None:
    if isinstance(item, Tensor):
        return item
    if isinstance(item, Mapping):
        item = list(item.values())
    if not isinstance(item, (list, tuple)):
        return None
    found = (_first_tensor(part) for part in cast("list[Any]", item))
    return next((tensor for tensor in found if tensor is not None), None)
