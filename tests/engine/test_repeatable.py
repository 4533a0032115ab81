"""Which functions of a user's own can be recorded."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from surgery.engine._repeatable import require_repeatable
from surgery.errors import BackendError

OUTPUTS, LABELS = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
WEIGHTS, NUMBER, SUM = torch.rand(4), count(), torch.zeros(6)
LOSS = nn.CrossEntropyLoss(weight=WEIGHTS, reduction="none")


def in_place(outputs: Tensor, labels: Tensor) -> Tensor:
    found = torch.zeros(len(outputs))
    found += outputs.max(1).values
    return found.clamp_(max=1)


def margin(outputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
    right = outputs.gather(1, labels[:, None])[:, 0]
    others = outputs.masked_fill(torch.eye(4).bool()[labels], -torch.inf)
    return {"margin": right - others.amax(1), "right": right}


@pytest.mark.parametrize("function", [LOSS, in_place, margin])
def test_functions_of_tensors_are_repeatable(function: Callable[..., Any]) -> None:
    before = OUTPUTS.clone()
    require_repeatable("it", function, OUTPUTS, LABELS)
    assert torch.equal(before, OUTPUTS)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda o, y: o[:, 0] * y[0].item(), "looks at values"),
        (lambda o, y: o[:, 0] if y.sum() > 0 else o[:, 1], "looks at values"),
        (lambda o, y: torch.from_numpy(o.numpy()[:, 0]), "looks at values"),
        (lambda o, y: torch.tensor(o[:, 0].tolist()), "looks at values"),
        (lambda o, y: o[o > 0], "looks at values"),
        (lambda o, y: o[:, 0] + torch.rand(6), "draws random numbers"),
        (lambda o, y: o[:, next(NUMBER) % 4], "something else from call to call"),
        (lambda o, y: o[:, 0] * next(NUMBER), "something else from call to call"),
        (lambda o, y: SUM.add_(o[:, 0]), "changes tensors that outlive it"),
        (lambda o, y: o.mul_(2)[:, 0], "changes tensors that outlive it"),
    ],
)
def test_others_are_refused(function: Callable[..., Any], why: str) -> None:
    with pytest.raises(BackendError, match=why):
        require_repeatable("it", function, OUTPUTS.clone(), LABELS)
