"""Hutchinson's estimate of the trace of the loss's Hessian, module by module.

For signs v drawn at random, v' H v has the trace of H as its mean, and so has its part
within one module the trace of that module's block: all modules share the products H v.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from surgery._random import derive
from surgery.engine import Runner
from surgery.errors import OperationError
from surgery.measurement import Measurement, Plan
from surgery.sensitivity._loss import Loss
from surgery.sensitivity._passes import Passed, each_batch
from surgery.sensitivity._score import Score
from surgery.stats import Evidence, t_interval, t_test

DRAWS = 32
"""How often signs are drawn unless told."""


def measure_traces(
    measurement: Measurement, plan: Plan, loss: Loss, draws: int, evidence: Evidence
) -> tuple[list[Score], Passed]:
    """The trace of the Hessian of the mean loss, over each row's parameters.

    Every draw is the same for all batches, so that a draw's estimate is one of the
    whole data's Hessian; intervals are over draws (Student's t).

    Raises:
        OperationError: A row has no parameters of numbers.
    """
    rows = [
        [t for t in variant.tensors() if _is_weight(t)] for variant in plan.variants
    ]
    for name, row in zip(plan.names, rows, strict=True):
        if not row:
            raise OperationError(
                f"{name} has no parameters that the mode changes: its Hessian is "
                "empty; score modules that have some"
            )
    every = list({id(t): t for row in rows for t in row}.values())
    place = {id(t): i for i, t in enumerate(every)}
    sums = np.zeros((draws, len(every)))
    weight = 0.0

    def work(runner: Runner, batch: Any, number: int, size: int) -> None:
        nonlocal weight
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            # The other kernels of attention cannot be derived twice.
            values, weights = loss(*runner.forward(batch, number), size)
            used = values.isfinite() & (weights > 0)
            total = (weights * values)[used].sum()
            first = torch.autograd.grad(
                total, every, create_graph=True, materialize_grads=True
            )
            found = [
                _products(first, every, _signs(every, measurement.seed, draw))
                for draw in range(draws)
            ]
        sums[:] += np.array(found)
        weight += float(weights[used].sum())

    title = f"Tracing the Hessian of {len(rows)} rows"
    passed = each_batch(
        measurement, plan.names, plan.variants, title, work, _deriving(every)
    )
    by_row = np.stack(
        [sums[:, [place[id(t)] for t in row]].sum(1) / weight for row in rows]
    )
    return [
        _row(name, mine, evidence)
        for name, mine in zip(plan.names, by_row, strict=True)
    ], passed


def _products(
    first: Sequence[Tensor], tensors: Sequence[Tensor], signs: Sequence[Tensor]
) -> list[float]:
    """v' (H v), tensor by tensor."""
    pairs = [(g, v) for g, v in zip(first, signs, strict=True) if g.requires_grad]
    if not pairs:  # the loss is linear in all of them
        return [0.0] * len(tensors)
    products = torch.autograd.grad(
        [g for g, _ in pairs],
        tensors,
        [v for _, v in pairs],
        retain_graph=True,
        materialize_grads=True,
    )
    parts = [(v * p).sum() for v, p in zip(signs, products, strict=True)]
    return [float(x) for x in torch.stack([part.double() for part in parts])]


def _signs(tensors: Sequence[Tensor], seed: int, draw: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(derive(seed, "hutchinson", draw))
    return [
        (torch.randint(2, t.shape, generator=generator) * 2 - 1).to(t) for t in tensors
    ]


def _is_weight(tensor: Tensor) -> bool:
    return isinstance(tensor, nn.Parameter) and tensor.is_floating_point()


@contextmanager
def _deriving(tensors: Sequence[Tensor]) -> Generator[None]:
    """Have gradients by frozen parameters too; frozen again afterwards."""
    held = [tensor for tensor in tensors if not tensor.requires_grad]
    for tensor in held:
        tensor.requires_grad_(True)
    try:
        yield
    finally:
        for tensor in held:
            tensor.requires_grad_(False)


def _row(name: str, draws: NDArray[np.float64], evidence: Evidence) -> Score:
    n = len(draws)
    mean = float(draws.mean())
    error = float(draws.std(ddof=1)) / math.sqrt(n)
    low, high = t_interval(mean, error, n - 1, evidence.confidence)
    p = t_test(mean, error, n - 1)
    return Score(name, "hessian", mean, low, high, n, p, error)
