"""A given plan: what an earlier sweep chose, done again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from surgery.data import batch_length
from surgery.engine._options import Engine
from surgery.errors import DataError


def check_plan(engine: Engine, names: Sequence[str]) -> None:
    """Refuse a plan of other components, or of another way to compute.

    Raises:
        DataError: Says what differs.
    """
    plan: Mapping[str, Any] = engine.plan or {}
    if not plan:
        return
    if list(plan.get("order", names)) != list(names):
        theirs = set(plan["order"])
        other = [n for n in names if n not in theirs] or ["the same in another order"]
        raise DataError(
            f"the plan is of {len(theirs)} components, this ranking of {len(names)} "
            f"({', '.join(other[:3])} ...); a plan holds for the components that it "
            "was made for: leave Engine(plan=...) out"
        )
    for name, ours in described(engine).items():
        if plan.get(name) != ours:
            raise DataError(
                f"the plan was made with {name}={plan.get(name)!r}, this ranking has "
                f"{ours!r}; give Engine({name}={plan.get(name)!r})"
            )


def as_planned(engine: Engine, batches: Iterable[Any]) -> Iterator[Any]:
    """The batches, which must be as long as those that the plan was made for.

    Raises:
        DataError: One is not.
    """
    sizes = (engine.plan or {}).get("batch_sizes")
    for number, batch in enumerate(batches):
        if sizes is not None and batch is not None:
            size = batch_length(batch)
            if number >= len(sizes) or sizes[number] != size:
                planned = sizes[number] if number < len(sizes) else "no"
                raise DataError(
                    f"batch {number} has {size} samples, and {planned} by the plan; "
                    "give the batches that the plan was made for, or leave "
                    "Engine(plan=...) out"
                )
        yield batch


def described(engine: Engine) -> dict[str, str | None]:
    """How numbers come about, beside the device: in plain JSON."""
    return {
        "amp": _text(engine.autocast_type()),
        "memory_format": _text(engine.format()),
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value).removeprefix("torch.")
