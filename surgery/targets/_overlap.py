"""Members of one group that mean the same values: each value is acted on once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from surgery.anatomy._component import Axis, Component, Slice
from surgery.errors import TargetError
from surgery.targets._parts import SIDES


@dataclass(frozen=True)
class _Extent:
    """What of a value a component means; `None` stands for all there is.

    Attributes:
        value: The value, as far as it has a name.
        which: Which of those with that name (for inputs: which field).
        call: Which call of its module.
        axis: The axis that is cut.
        numbers: What is meant on that axis.
    """

    value: tuple[object, ...]
    which: object = None
    call: int | None = None
    axis: int | Axis | None = None
    numbers: frozenset[int] = frozenset()

    def within(self, other: _Extent) -> bool:
        return (
            self.value == other.value
            and other.which in (None, self.which)
            and other.call in (None, self.call)
            and (
                other.axis is None
                or (self.axis == other.axis and self.numbers <= other.numbers)
            )
        )

    def meets(self, other: _Extent) -> bool:
        return (
            self.value == other.value
            and (None in (self.which, other.which) or self.which == other.which)
            and (None in (self.call, other.call) or self.call == other.call)
            and (
                None in (self.axis, other.axis)
                or self.axis != other.axis
                or bool(self.numbers & other.numbers)
            )
        )


def without_repetition(components: Sequence[Component]) -> tuple[Component, ...]:
    """Those of a group's members that are not inside another; of equal ones the first.

    Raises:
        TargetError: Two overlap, and neither is inside the other; or nobody knows yet.
    """
    pairs = list(_pairs(components))
    dropped: set[int] = set()
    for first, second in pairs:
        if _inside(components[second], components[first]):
            dropped.add(second)
        elif _inside(components[first], components[second]):
            dropped.add(first)
    for first, second in pairs:
        if first not in dropped and second not in dropped:
            _require_apart(components[first], components[second])
    return tuple(c for n, c in enumerate(components) if n not in dropped)


def _pairs(components: Sequence[Component]) -> Iterator[tuple[int, int]]:
    """Numbers of members that may have something in common, the earlier one first."""
    near: dict[object, list[int]] = {}
    for number, component in enumerate(components):
        for value in _values(component):
            near.setdefault(value, []).append(number)
    found: set[tuple[int, int]] = set()
    for members in near.values():
        if not _plainly_apart([components[n] for n in members]):
            found.update(combinations(members, 2))
    yield from sorted(found)


def _plainly_apart(components: Sequence[Component]) -> bool:
    """Whether they are slices of one axis, with no number twice (there are many)."""
    ranges = [(c.slice.first, c.slice.last) for c in components if c.slice]
    alike = {
        (c.kind, c.path, c.part, c.call, c.slice and c.slice.axis) for c in components
    }
    size = sum(last - first + 1 for first, last in ranges)
    return (
        len(ranges) == len(components)
        and len(alike) == 1
        and size == len(_numbers(*ranges))
    )


def _inside(component: Component, other: Component) -> bool:
    """Whether acting on `other` acts on all of a component."""
    mine, others = _extents_of_both(component, other)
    return bool(mine) and all(any(m.within(o) for o in others) for m in mine)


def _require_apart(one: Component, two: Component) -> None:
    ones, twos = _extents_of_both(one, two)
    if any(a.meets(b) for a in ones for b in twos):
        raise TargetError(
            f"'{one}' and '{two}' overlap, and a group acts on each value once"
            f"{_mend(one, two)}"
        )
    recognised = [c for c in (one, two) if c.kind in SIDES and c.place is None]
    if len(recognised) == 1 and one.kind != two.kind and _joins(one) & _joins(two):
        raise TargetError(
            f"'{one}' and '{two}' in one group may be the same tensor, which only a "
            "forward tells; pass `inputs=`"
        )


def _mend(one: Component, two: Component) -> str:
    sliced = one.slice or two.slice
    if one.kind == "input" and (one.part or two.part) and sliced:
        return "; name one of them, or pass `inputs=` to tell which input is meant"
    if one.slice is None or two.slice is None or one.slice.axis != two.slice.axis:
        return "; name one of them"
    first = min(one.slice.first, two.slice.first)
    last = max(one.slice.last, two.slice.last)
    return f"; name them as one: '{one.name.partition('#')[0]}#{first}-{last}'"


def _values(component: Component) -> set[object]:
    """Names of all that it might share with another."""
    return {
        *(extent.value for extent in _extents(component, known=True)),
        *(extent.value for extent in _extents(component, known=False)),
        *_joins(component),
    }


def _joins(component: Component) -> set[object]:
    """Where its join is, if it is an operand of one."""
    if component.kind not in SIDES and component.operand is None:
        return set()
    return {(component.path, SIDES.get(component.kind, component.kind))}


def _extents_of_both(
    one: Component, two: Component
) -> tuple[list[_Extent], list[_Extent]]:
    """By place, or by name where the place of one of them is not known."""
    known = one.place is not None and two.place is not None
    return _extents(one, known), _extents(two, known)


def _extents(component: Component, known: bool) -> list[_Extent]:
    c = component
    if c.kind in ("module", "parameter"):
        return []
    if known and c.place is not None:
        return [
            _Extent(
                (site.path, site.function, site.operand),
                site.index,
                c.call if site.call is None and site.path == c.path else site.call,
                site.axis,
                _numbers(*site.pieces),
            )
            for site in c.place.sites
        ]
    axis, numbers = None, frozenset[int]()
    if c.slice is not None:
        axis, numbers = _axis(c, c.slice), _numbers((c.slice.first, c.slice.last))
    if c.kind == "input":
        field = c.part or (c.slice and c.slice.of)
        return [_Extent((c.kind,), field, None, axis, numbers)]
    part = c.part if c.kind == "function" else None
    value = (c.path, c.kind, part, c.operand)
    return [_Extent(value, c.index, c.call, axis, numbers)]


def _axis(component: Component, part: Slice) -> Axis:
    """The axis of a slice, by one name where several mean the same one."""
    if component.kind != "input":
        return part.axis
    shape = component.facts.input_shape if component.facts else None
    features = part.axis == "feature" and (shape is None or len(shape) != 2)
    return "feature" if features else "channel"


def _numbers(*pieces: tuple[int, int]) -> frozenset[int]:
    return frozenset(n for first, last in pieces for n in range(first, last + 1))
