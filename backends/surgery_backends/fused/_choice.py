"""Choices: how the variants of batches of one size are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from surgery_backends.fused._plan import Pass

Item = TypeVar("Item")


@dataclass(frozen=True)
class Choice:
    """How the variants of batches of one size are computed.

    Attributes:
        stack: How many variants are stacked along the batch.
        passes: How many programs there are, each with a baseline of its own.
        channels_last: Whether images and kernels of convolutions lie so.
        peak_bytes: The most that the values of a program take at once.
        copied_bytes: What kernels take that are laid out otherwise.
        flops: Floating-point operations of all programs on one batch.
        least_flops: The same if nothing were computed twice.
    """

    stack: int
    passes: int = 1
    channels_last: bool = False
    peak_bytes: int = 0
    copied_bytes: int = 0
    flops: int = 0
    least_flops: int = 0

    def split(self, order: Sequence[int], *, baseline: bool = True) -> list[Pass]:
        """The passes over variants in this order.

        Args:
            order: As they begin to differ.
            baseline: Whether the first pass gives the baseline too. It is in the stack
                with the variants if there is no other stack.
        """
        chunks = _cut(order, self.stack)
        groups = _cut(chunks, -(-len(chunks) // self.passes)) if chunks else [[]]
        joined = baseline and len(chunks) == 1 and len(chunks[0]) > 1
        return [
            Pass.of(
                group,
                baseline=baseline and not place,
                joined=joined,
                channels_last=self.channels_last,
            )
            for place, group in enumerate(groups)
        ]


def choices_of(plan: Mapping[str, Any]) -> dict[int, Choice]:
    """The choices that a plan holds, by number of samples."""
    fields = [name for name in Choice.__dataclass_fields__ if name in plan]
    return {
        int(size): Choice(**{name: plan[name][size] for name in fields})
        for size in plan.get("stack", {})
    }


def _cut(items: Sequence[Item], length: int) -> list[Sequence[Item]]:
    return [items[i : i + length] for i in range(0, len(items), length)]
