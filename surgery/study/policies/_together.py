"""Which parts one arm can leave out together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from surgery.study.arms import CustomModel, FactorPart, FeaturePart, LayerPart, Part


def together(parts: Iterable[Part]) -> tuple[Part, ...]:
    """As many parts as one arm can leave out, the first ones first."""
    kept: list[Part] = []
    for part in parts:
        if possible([*kept, part]):
            kept.append(part)
    return tuple(kept)


def possible(parts: Sequence[Part]) -> bool:
    """Whether one arm can leave all of these out.

    Values of one factor exclude each other; so do a group and its elements, and another
    model and the layers of the base model.
    """
    seen: set[tuple[str, str]] = set()
    for part in parts:
        touched = _touched(part)
        if touched & seen:
            return False
        seen |= touched
    kinds = {part.kind for part in parts}
    return not {"layer", "model"} <= kinds


def slots(parts: Iterable[Part]) -> tuple[tuple[Part, ...], ...]:
    """Parts that exclude each other by their slot, as the values of one factor do."""
    found: dict[str, list[Part]] = {}
    for part in parts:
        found.setdefault(part.slot, []).append(part)
    return tuple(map(tuple, found.values()))


def _touched(part: Part) -> set[tuple[str, str]]:
    match part:
        case LayerPart():
            return {("layer", target) for target in part.targets}
        case FeaturePart():
            return {("feature", name) for name in part.features}
        case FactorPart():
            return {("factor", path) for path in part.values}
        case CustomModel():
            return {("model", "")}
        case _:
            return {("slot", part.slot)}
