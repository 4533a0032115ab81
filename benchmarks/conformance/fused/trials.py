"""Trials: a sample of a model's components, each under some operation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import surgery
from benchmarks.conformance.zoo.specimen import Specimen
from surgery import Component, ops
from surgery.ablation import Variant, gather
from surgery.errors import SurgeryError
from surgery.ops import AbstractOperation, Clock

PER_KIND: Mapping[str, int] = {
    "module": 6,
    "skip": 2,
    "branch": 2,
    "add": 2,
    "mul": 1,
    "gate": 1,
    "cat": 2,
    "stack": 1,
    "function": 2,
    "head": 2,
    "input": 1,
}
"""How many components of each kind are taken, spread over the model."""

OPERATIONS: tuple[AbstractOperation, ...] = (
    ops.Zero(),
    ops.Mean(),
    ops.Identity(),
    ops.Resample(),
    ops.Noise(),
    ops.Constant(0.5),
    ops.Reinit(),
)


def sample(found: Sequence[Component]) -> list[Component]:
    """Some components of every kind, from the first to the last, in their order."""
    chosen: list[Component] = []
    for kind, count in PER_KIND.items():
        called = [
            part
            for part in found
            if part.kind == kind and (part.facts is None or part.facts.calls)
        ]
        count = min(count, len(called))
        places = {
            round(i * (len(called) - 1) / max(1, count - 1)) for i in range(count)
        }
        chosen += [called[place] for place in sorted(places)]
    return chosen


def trials(model: Any, specimen: Specimen, clock: Clock) -> list[Variant]:
    """Variants: zero everywhere, every other operation in turn, sets, half dials.

    Args:
        model: Shaken, in eval mode.
        specimen: Its inputs.
        clock: Tells operations which forward is running.
    """
    kinds: Any = tuple(PER_KIND)
    found = surgery.components(
        model, *specimen.args, kwargs=dict(specimen.kwargs), kinds=kinds
    )
    parts = sample(list(found))
    made: list[Variant] = []
    for members, operation, dial in _wanted(parts):
        try:
            variant = Variant(model, members, operation, clock, dial=dial)
            variant.prepare()
            if variant.observers():
                gather(model, variant, clock, [_batch(specimen)])
        except SurgeryError:  # makes no sense there, as kind x mode says
            continue
        made.append(variant)
    return made


def _wanted(
    parts: Sequence[Component],
) -> Iterator[tuple[list[Component], AbstractOperation, float]]:
    for place, part in enumerate(parts):
        yield [part], OPERATIONS[0], 1.0
        yield [part], OPERATIONS[1 + place % (len(OPERATIONS) - 1)], 1.0
    for first, second in zip(parts[::6], parts[3::6], strict=False):
        yield [first, second], OPERATIONS[0], 0.5


def _batch(specimen: Specimen) -> Any:
    """The inputs as a batch of data; labels are left out of a mapping."""
    if specimen.kwargs:
        return dict(specimen.kwargs)
    return specimen.args[0] if len(specimen.args) == 1 else (specimen.args, None)


def words(variant: Variant) -> str:
    """A trial in words."""
    names = ", ".join(str(component) for component in variant.components)
    return f"{variant.mode} on {names}"
