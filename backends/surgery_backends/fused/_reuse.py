"""Reuse of memory: functions that write into an operand that nothing needs after.

Functional graphs give every value new memory, which costs a model of large activations
a tenth of its time. Where an operand dies in a call that has an in-place twin, that is
called: the same numbers, in memory that is warm.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from operator import getitem
from typing import Any, Final

import torch
from torch import Tensor, fx

from surgery_backends.fused._marked import value_of
from surgery_backends.fused._tape import Slot, Step, Tape, slots_in

ATEN: Any = torch.ops.aten

# These give fresh memory, and keep no view of what they take.
_FRESH: Final = frozenset(
    (
        *("conv1d", "conv2d", "conv3d", "convolution", "linear", "addmm", "mm", "bmm"),
        *("matmul", "layer_norm", "native_layer_norm", "group_norm", "batch_norm"),
        *("_native_batch_norm_legit_no_training", "native_group_norm", "rms_norm"),
        *("add", "sub", "mul", "div", "relu", "gelu", "silu", "sigmoid", "tanh"),
        *("hardswish", "hardsigmoid", "hardtanh", "leaky_relu", "elu", "clamp", "mish"),
        *("relu6", "softmax", "cat", "stack", "clone", "mean", "sum", "exp", "sqrt"),
        *("avg_pool2d", "max_pool2d", "adaptive_avg_pool2d", "upsample_bilinear2d"),
        *(
            "scaled_dot_product_attention",
            "rsqrt",
            "pow",
            "neg",
            "pad",
            "index",
            "roll",
        ),
    )
)
# These write into their first operand under another name, with the same numbers.
_WRITES: Final = frozenset(
    (
        *("add", "sub", "mul", "div", "relu", "gelu", "silu", "sigmoid", "tanh"),
        *("hardswish", "hardsigmoid", "hardtanh", "leaky_relu", "elu", "clamp", "mish"),
    )
)
_COMMUTES: Final = frozenset(("add", "mul"))


@cache
def in_place(target: Any) -> Callable[..., Any] | None:
    """The function that writes what `target` gives into its first operand."""
    name = _name(target)
    if name not in _WRITES:
        return None
    packet = getattr(ATEN, f"{name}_", None)
    return getattr(packet, target._overloadname, None)


def places(node: fx.Node) -> tuple[int, ...]:
    """Which operands are as large as what a node gives, and may be overwritten."""
    if in_place(node.target) is None:
        return ()
    value = value_of(node)
    last = 2 if _name(node.target) in _COMMUTES and not node.kwargs else 1
    return tuple(
        place
        for place, operand in enumerate(node.args[:last])
        if isinstance(operand, fx.Node) and _alike(value_of(operand), value)
    )


def reuse_memory(tape: Tape, reusable: dict[int, tuple[int, ...]]) -> None:
    """Let steps write into operands that die in them.

    Args:
        tape: Before it is closed.
        reusable: By the place where a step's value goes: which operands would fit.
    """
    made: dict[int, Step] = {step.out: step for step in tape.steps}
    last: dict[int, int] = {}
    kept: set[int] = set(tape.held) | set(tape.inputs)
    for place, step in enumerate(tape.steps):
        fresh = is_fresh(step.function)
        for slot in slots_in((step.args, step.kwargs)):
            last[slot.index] = place
            if not fresh and not _is_item(step):
                kept.add(slot.index)  # a view of it may live on
    for place, step in enumerate(tape.steps):
        for operand in reusable.get(step.out, ()):
            slot = step.args[operand]
            if not isinstance(slot, Slot) or slot.index in kept:
                continue
            if last[slot.index] != place or not _owned(made.get(slot.index), made):
                continue
            others = [s for s in slots_in(step.args) if s.index == slot.index]
            writer = in_place(step.function)
            if writer is None or len(others) > 1:
                continue
            if operand == 1:
                step.args = (step.args[1], step.args[0], *step.args[2:])
            step.function = writer
            step.size = 0
            break


def is_fresh(function: Any) -> bool:
    """Whether a function gives new memory and keeps no view of its operands."""
    return _name(function) in _FRESH


def is_view(function: Any) -> bool:
    """Whether a function may give the memory of an operand."""
    if _name(function) in ("_unsafe_view", "reshape"):  # these do not declare it
        return True
    schema = getattr(function, "_schema", None)
    return schema is not None and any(r.alias_info is not None for r in schema.returns)


def _owned(step: Step | None, made: dict[int, Step]) -> bool:
    """Whether a step's value is memory of its own."""
    if step is None:
        return False
    if _is_item(step):
        source = made.get(step.args[0].index)
        return source is not None and is_fresh(source.function)
    return _name(step.function).removesuffix("_") in _FRESH


def _is_item(step: Step) -> bool:
    return step.function is getitem


def _name(target: Any) -> str:
    schema = getattr(target, "_schema", None)
    name = str(getattr(schema, "name", ""))
    return name.removeprefix("aten::") if name.startswith("aten::") else ""


def _alike(a: Any, b: Any) -> bool:
    # Strides too: what comes after computes the same numbers in another order else.
    return (
        isinstance(a, Tensor)
        and isinstance(b, Tensor)
        and a.dtype == b.dtype
        and [str(n) for n in (*a.shape, *a.stride())]
        == [str(n) for n in (*b.shape, *b.stride())]
    )
