"""How an ablated model is compared with a forward edited by hand, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import surgery
from surgery.testing._by_hand import At, Change, Given
from surgery.testing._mount import OPERATIONS
from surgery.testing._truth import change_of

PLAIN = ("zero", "mean", "constant", "noise", "callable")
ALL = (*PLAIN, "identity")


@dataclass(frozen=True)
class Case:
    """A model in eval mode, an input, more inputs, and the forward by hand."""

    model: nn.Module
    x: Tensor
    data: tuple[Tensor, ...]
    forward: Callable[[Any, At, Tensor], Tensor]

    def run(self) -> Tensor:
        with torch.no_grad():
            out: Any = self.model(self.x)
        tensor: Tensor = out if isinstance(out, Tensor) else out.logits
        return tensor

    def by_hand(self, *changes: tuple[str, Change]) -> Tensor:
        at = At(changes)
        with torch.no_grad():
            out = self.forward(self.model, at, self.x)
        assert set(at.visits) == {target for target, _ in changes}
        return out

    def means(self, target: str) -> dict[int, Tensor]:
        """The part's value averaged over the data in double precision, by run."""
        sums: dict[int, Tensor] = {}
        counts: dict[int, int] = {}

        def add(value: Tensor, given: Given, index: int) -> Tensor:
            total = value.double().sum(0, keepdim=True)
            sums[index] = sums[index] + total if index in sums else total
            counts[index] = counts.get(index, 0) + len(value)
            return value

        with torch.no_grad():
            for x in self.data:
                self.forward(self.model, At(((target, add),)), x)
        return {i: (total / counts[i]).float() for i, total in sums.items()}


def compare(case: Case, target: str, mode: str, dial: float = 1.0) -> None:
    """Ablate, run the forward by hand, compare the bits; then nothing is left."""
    before = case.run()
    for inputs in (case.x, None):
        operation: Any = OPERATIONS[mode]()
        data = [(x, None) for x in case.data] if mode == "mean" else None
        with surgery.ablate(
            case.model, target, operation, dial=dial, data=data, inputs=inputs
        ) as op:
            got = case.run()
            op.effect(strict=True)
        means = case.means(target) if mode == "mean" else {}
        change = in_place_of(change_of(mode, operation, means, dial))
        right = case.by_hand((target, change))
        assert torch.equal(bits(got), bits(right)), float((got - right).abs().max())
        assert not torch.equal(got, before)
        assert torch.equal(bits(case.run()), bits(before))


def in_place_of(change: Change) -> Change:
    """In the strides of what it stands for, on which kernels and last bits depend."""

    def laid_out(value: Tensor, given: Given, index: int) -> Tensor:
        return torch.empty_like(value).copy_(change(value, given, index))

    return laid_out


def untouched(case: Case) -> None:
    """The forward by hand is the model's own."""
    assert torch.equal(bits(case.by_hand()), bits(case.run()))


def gradients_agree(case: Case, target: str) -> None:
    """Gradients of every parameter under `zero`; none counts as zeros."""
    parameters = list(case.model.parameters())

    def gradients(out: Tensor) -> list[Tensor]:
        found = torch.autograd.grad(out.square().sum(), parameters, allow_unused=True)
        pairs = zip(found, parameters, strict=True)
        return [torch.zeros_like(p) if g is None else g for g, p in pairs]

    with surgery.ablate(case.model, target, inputs=case.x):
        out: Any = case.model(case.x)
        got = gradients(out if isinstance(out, Tensor) else out.logits)
    change = change_of("zero", OPERATIONS["zero"](), {})
    right = gradients(case.forward(case.model, At(((target, change),)), case.x))
    for mine, theirs in zip(got, right, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def bits(x: Tensor) -> Tensor:
    return x.contiguous().view(torch.int32)


def images(pixels: int, seed: int) -> Tensor:
    return torch.randn(
        2, 3, pixels, pixels, generator=torch.Generator().manual_seed(seed)
    )
