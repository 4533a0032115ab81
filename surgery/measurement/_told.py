"""What variants tell after a sweep: how far they reached, and what must be known."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal

from surgery.ablation import Variant
from surgery.engine import Swept
from surgery.errors import DataError, OperationError

Reach = Literal["none", "local", "full"]


def reach(variant: Variant, changed_output: bool) -> Reach:
    """How far an operation reached: the model's output, its component's, or not even.

    Args:
        variant: After the sweep.
        changed_output: Whether the model's output ever changed.
    """
    if changed_output:
        return "full"
    own = any(variant.changed(component) for component in variant.components)
    return "local" if own else "none"


def note(variants: Sequence[Variant]) -> str:
    """What a user must know of them, each thing once."""
    notes: list[str] = []
    for variant in variants:
        notes += [variant.note(component) for component in variant.components]
        idle = variant.never_fired()
        if idle:
            notes.append("never ran on this data: " + ", ".join(map(str, idle)))
    return "; ".join(dict.fromkeys(note for note in notes if note))


def warn_if_interrupted(swept: Swept) -> None:
    """Tell the caller of the public function that calls this of a sweep cut short."""
    if swept.interrupted:
        samples = sum(swept.batch_sizes)
        warnings.warn(
            f"interrupted: the result rests on the first {samples} samples",
            stacklevel=3,
        )


def require_outcomes(swept: Swept, left: int) -> None:
    """Refuse a sweep that has nothing to tell.

    Args:
        swept: What it left.
        left: How many rows were not refused.

    Raises:
        DataError: No sample was measured.
        OperationError: No row is left.
    """
    if not swept.baseline or not swept.baseline[0].samples:
        raise DataError(
            "no sample could be measured: all failed in the untouched model "
            f"({swept.failures[0].cause if swept.failures else 'no data'})"
        )
    if not left:
        causes = "; ".join(list(swept.refused.values())[:3])
        raise OperationError(f"nothing is left to measure: {causes}")
