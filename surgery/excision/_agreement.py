"""Agreement: whether a new model does what the reversible operation does.

A difference is measured against what the operation changes. Against the outputs
themselves it would say nothing: in half precision rounding is larger than most effects,
and a small layer scale hides a block that computes something else.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import final

import torch
from torch import Tensor, nn

from surgery.ablation import Variant
from surgery.errors import DataError
from surgery.excision._example import Example
from surgery.ops import Clock

Outcome = Mapping[str, Sequence[Tensor]]
"""Tensors that came out, of the model (`""`) and of modules by their paths."""

_SHARE = 1e-3
"""How large a difference may be, as a share of the operation's effect."""


@final
class Truth:
    """What a model gives on an example, as it is and under the reversible operation.

    Outputs are those of the model and of the blocks at the given paths.
    """

    def __init__(
        self,
        model: nn.Module,
        variant: Variant,
        clock: Clock,
        example: Example,
        blocks: frozenset[str],
    ) -> None:
        self._made_of = (model, variant, clock)
        self._example = example
        self._blocks = blocks
        self._untouched = example.run(model, blocks)
        if not self._untouched[""]:
            raise DataError(
                f"no tensors come out of {type(model).__name__} on this example: "
                "excise has nothing to check the new model by; let its forward return "
                "tensors (in tuples, lists, mappings or dataclasses)"
            )
        with ExitStack() as stack:
            stack.callback(clock.watch(model))
            stack.callback(variant.apply())
            self._wanted = example.run(model, blocks)
        self._precise: Truth | None = None
        self._may_be_precise = True

    def agreement(self, model: nn.Module) -> tuple[str, str]:
        """How a new model agrees, `"bitwise"` or `"close"`, or `""` and a reason."""
        found = self._example.run(model, self._blocks)
        agreed = _agreement(found, self._wanted, self._untouched)
        if agreed == "bitwise" or _unlike(found, self._wanted):
            return agreed, _difference(found, self._wanted)
        # Other kernels round otherwise. In float64 that is far below any effect.
        precise = self._in_double()
        if precise is not None:
            try:
                doubled = copy.deepcopy(model).double()
                found = precise._example.run(doubled, self._blocks)
            except Exception:  # a type that its own code insists on
                return agreed, _difference(found, self._wanted)
            agreed = _agreement(found, precise._wanted, precise._untouched)
        return agreed and "close", _difference(found, (precise or self)._wanted)

    def _in_double(self) -> Truth | None:
        """The same in float64, where the model runs in it."""
        if self._precise is None and self._may_be_precise:
            self._may_be_precise = False
            try:
                model, variant, clock = copy.deepcopy(self._made_of)
                example = self._example.doubled()
                model.double()
                self._precise = Truth(model, variant, clock, example, self._blocks)
            except Exception:  # likewise, or a device that has no float64
                return None
        return self._precise


def _agreement(found: Outcome, wanted: Outcome, untouched: Outcome) -> str:
    if _unlike(found, wanted):
        return ""
    pairs = _pairs(found, wanted)
    if all(_distance(a, b) == 0 for a, b in pairs):
        return "bitwise"
    if _unlike(wanted, untouched):
        return ""
    effects = [_distance(a, b) for a, b in _pairs(untouched, wanted)]
    known = dict(zip(map(id, _flat(wanted)), effects, strict=True))
    for a, b in pairs:
        room = _SHARE * known[id(b)]
        if not (_distance(a, b) <= (room if b.is_floating_point() else 0)):
            return ""
    return "close"


def _unlike(found: Outcome, wanted: Outcome) -> str:
    """What differs besides values, in words."""
    for place, tensors in wanted.items():
        given = found.get(place)
        if given is None:  # a block that is gone, or runs no more
            continue
        if len(given) != len(tensors):
            return f"{len(given)} tensors instead of {len(tensors)}"
        for a, b in zip(given, tensors, strict=True):
            if a.shape != b.shape or a.dtype != b.dtype:
                return (
                    f"{tuple(a.shape)} {a.dtype} instead of {tuple(b.shape)} {b.dtype}"
                )
    return ""


def _difference(found: Outcome, wanted: Outcome) -> str:
    """Where two runs differ, in words."""
    worst = max((_distance(a, b) for a, b in _pairs(found, wanted)), default=0.0)
    return _unlike(found, wanted) or f"a difference of up to {worst:.3g}"


def _pairs(found: Outcome, wanted: Outcome) -> list[tuple[Tensor, Tensor]]:
    return [
        pair
        for place, tensors in wanted.items()
        if place in found
        for pair in zip(found[place], tensors, strict=False)
    ]


def _flat(outcome: Outcome) -> list[Tensor]:
    return [x for tensors in outcome.values() for x in tensors]


def _distance(a: Tensor, b: Tensor) -> float:
    """The largest difference; not a number where only one of them is none."""
    if a.shape != b.shape or not a.numel():
        return 0.0
    wide = torch.complex128 if a.is_complex() else torch.float64
    if a.device.type == "mps":
        wide = torch.complex64 if a.is_complex() else torch.float32
    apart = (a.to(wide) - b.to(wide)).abs()
    same = (a == b) | ((a != a) & (b != b))
    return float(apart.masked_fill(same, 0).max())
