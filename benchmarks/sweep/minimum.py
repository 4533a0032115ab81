"""The least work: FLOPs of an operation times the variants that differ there, plus one.

Counted without the engine: in one plain forward every tensor carries the set of parts
that would change it, from the hook of the part onwards, through every operation that
takes it. An exact way must do an operation once for the untouched model and once for
each variant in which one of its inputs differs, and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakTensorKeyDictionary

import surgery
from benchmarks.sweep.parts import Part

_ON_CPU: Any = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


class Tally(TorchDispatchMode):
    """Counts FLOPs.

    Attributes:
        total: Of what ran.
        least: Of what ran, times the variants that differ there, plus one.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0
        self.least = 0
        self._parts: Any = WeakTensorKeyDictionary()

    def mark(self, x: Tensor, part: int) -> Tensor:
        """The same values, as a tensor from which on a variant differs."""
        marked = x.view_as(x)
        self._parts[marked] = self._parts.get(x, 0) | 1 << part
        return marked

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        packet = func._overloadpacket
        if packet not in flop_registry and packet is not _ON_CPU:
            with self:  # what is made of several others is counted as those
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        out = func(*args, **kwargs)
        flops = _flops(packet, args, kwargs, out)
        differing = 0
        for x in tree_leaves((args, kwargs)):
            if isinstance(x, Tensor):
                differing |= self._parts.get(x, 0)
        self.total += flops
        self.least += flops * (differing.bit_count() + 1)
        if differing:
            for x in tree_leaves(out):
                if isinstance(x, Tensor):
                    self._parts[x] = self._parts.get(x, 0) | differing
        return out


def flops_of(run: Callable[[], object]) -> int:
    """FLOPs of a call."""
    with Tally() as tally:
        run()
    return int(tally.total)


@torch.no_grad()
def least_flops(model: nn.Module, x: Tensor, parts: Sequence[Part]) -> int:
    """The least FLOPs for the untouched model and the model without each part.

    Args:
        model: The model.
        x: One batch.
        parts: What is taken out in turn.
    """
    tally = Tally()
    with ExitStack() as stack:
        for place, part in enumerate(parts):
            stack.callback(_marking(model, part, _Marker(tally, place)))
        stack.enter_context(tally)
        model(x)
    return int(tally.least)


def _marking(model: nn.Module, part: Part, marker: _Marker) -> Callable[[], None]:
    if not part.path:
        return surgery.ablate(model, part.target, mode=marker.operand).restore
    module = model.get_submodule(part.path)
    if part.features is None:
        return module.register_forward_hook(marker.output).remove
    return module.register_forward_pre_hook(marker.input).remove


class _Marker:
    """Marks the tensors of one part."""

    def __init__(self, tally: Tally, place: int) -> None:
        self._tally, self._place = tally, place

    def operand(self, output: Any, inputs: Any) -> Any:
        return self._marked(output)

    def output(self, module: nn.Module, args: Any, output: Any) -> Any:
        return self._marked(output)

    def input(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return self._marked(args[0]), *args[1:]

    def _marked(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._tally.mark(value, self._place)
        if isinstance(value, tuple):
            return tuple(map(self._marked, value))
        return value


def _flops(packet: Any, args: Any, kwargs: Any, out: Any) -> int:
    if packet is _ON_CPU:  # of which torch counts none
        q, k, v = (x.shape for x in args[:3])
        return int(2 * prod(q[:-1]) * k[-2] * (q[-1] + v[-1]))
    count: Any = flop_registry.get(packet)
    return 0 if count is None else int(count(*args, **kwargs, out_val=out))
