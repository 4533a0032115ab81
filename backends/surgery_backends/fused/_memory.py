"""Memory: what a program holds at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from surgery_backends.fused._program import FusedProgram, Receiver
from surgery_backends.fused._tape import Tape, slots_in


def peak_bytes(tape: Tape, leaves: Sequence[Any]) -> int:
    """The most bytes that the values of a tape take at once.

    Its inputs are among them, and so are outputs, which others keep.
    """
    owner: dict[int, int] = {}
    alive: dict[int, int] = {}
    for index, leaf in zip(tape.inputs, leaves, strict=True):
        owner[index] = index
        alive[index] = leaf.nbytes if isinstance(leaf, Tensor) else 0
    users: dict[int, int] = dict.fromkeys(alive, 1)
    now = peak = sum(alive.values())
    for step in tape.steps:
        root = step.out
        if step.size == 0:  # a view, or nothing
            first = next(slots_in(step.args), None)
            root = owner.get(first.index, step.out) if first is not None else step.out
        owner[step.out] = root
        if root == step.out:
            alive[root] = step.size
            now += step.size
        users[root] = users.get(root, 0) + 1
        peak = max(peak, now)
        for index in () if isinstance(step.function, Receiver) else step.frees:
            held = owner.get(index)
            if held is None or held in tape.inputs:  # the caller keeps its inputs
                continue
            users[held] -= 1
            if not users[held]:
                now -= alive.pop(held, 0)
    return peak


def needed_bytes(
    programs: Sequence[FusedProgram], leaves: Sequence[Any]
) -> tuple[int, int]:
    """What the values of the largest program take, and kernels laid out for them."""
    peak = max(peak_bytes(program.tape, leaves) for program in programs)
    copied = {p.plan.channels_last for p in programs if p.made.channels_last}
    return peak, sum(layout.nbytes for layout in copied)
