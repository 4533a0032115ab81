"""Three ways to the same curves: a copy per variant, changed in place, and ours."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from surgery._random import derive
from surgery.ablation import Variant
from surgery.anatomy import record
from surgery.evaluator import AbstractEvaluator
from surgery.ops import Clock, Drawn, Noise
from surgery.targets import resolve_each
from surgery_backends.fused import FusedEvaluator

LEVELS, DRAWS = (0.01, 0.03, 0.1, 0.3, 1.0), 3
BUDGET = 2**29
"""Bytes of new weights that `surgery` keeps: what it would by default on 16 GiB."""


@dataclass(frozen=True)
class Wanted:
    """One variant: noise on one block."""

    block: str
    level: float
    seed: int

    def new_values(self, block: nn.Module) -> list[tuple[Tensor, Tensor]]:
        """The block's parameters, and what they become."""
        noise = Noise(self.level, on="parameters")
        found: list[tuple[Tensor, Tensor]] = []
        for name, parameter in block.named_parameters():
            seed = derive(self.seed, "parameter", f"{self.block}.{name}")
            every = tuple(range(parameter.ndim))
            tensor = parameter.detach()
            found.append((tensor, tensor + noise.draw(tensor, seed, every)))
        return found


def wanted(model: nn.Module, x: Tensor, blocks: str) -> list[Wanted]:
    """All blocks at all levels and draws."""
    seen = record(model, (x[:2],), {})
    names = [name for name, _ in resolve_each(model, blocks, seen, called_only=True)]
    return [Wanted(*one) for one in itertools.product(names, LEVELS, range(DRAWS))]


def copied(model: nn.Module, x: Tensor, variants: Sequence[Wanted]) -> list[Tensor]:
    """A deep copy of the model for every variant: what most scripts do."""
    found = [model(x).argmax(-1)]
    for one in variants:
        other = copy.deepcopy(model)
        for tensor, new in one.new_values(other.get_submodule(one.block)):
            tensor.copy_(new)
        found.append(other(x).argmax(-1))
    return found


def tuned(model: nn.Module, x: Tensor, variants: Sequence[Wanted]) -> list[Tensor]:
    """The block's own weights changed in place, and put back: what costs least."""
    found = [model(x).argmax(-1)]
    for one in variants:
        values = one.new_values(model.get_submodule(one.block))
        before = [tensor.clone() for tensor, _ in values]
        for tensor, new in values:
            tensor.copy_(new)
        found.append(model(x).argmax(-1))
        for (tensor, _), old in zip(values, before, strict=True):
            tensor.copy_(old)
    return found


def evaluator(
    model: nn.Module, x: Tensor, variants: Sequence[Wanted], **options: Any
) -> AbstractEvaluator:
    """What `sensitivity(engine=Engine(backend="fused"))` gives each batch to."""
    seen = record(model, (x[:2],), {})
    rows = {
        name: members
        for name, members in resolve_each(
            model, list({v.block for v in variants}), seen, called_only=True
        )
    }
    clock, drawn = Clock(), Drawn(BUDGET)
    operations = {level: Noise(level, on="parameters") for level in LEVELS}
    made = [
        Variant(
            model,
            rows[one.block],
            operations[one.level],
            clock,
            seed=one.seed,
            drawn=drawn,
        )
        for one in variants
    ]
    return FusedEvaluator(model, made, **options)


def fused(
    model: nn.Module, x: Tensor, variants: Sequence[Wanted], by: AbstractEvaluator
) -> list[Tensor]:
    """All variants of a batch in one program."""
    numbers = range(len(variants))
    outputs = by.evaluate((x,), {}, numbers, model).outputs
    found = {key: outputs[key].argmax(-1) for key in list(outputs)}
    return [found[key] for key in (None, *numbers)]
