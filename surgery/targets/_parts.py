"""Parts of a module that a recorded forward showed, picked by a suffix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from surgery.anatomy._component import Component, Kind, Place, Site, Slice
from surgery.anatomy._record import Record
from surgery.errors import TargetError
from surgery.targets._target import JOINS, Index, Suffix

JOIN_KINDS: dict[str, Kind] = {
    "add": "add",
    "mul": "mul",
    "cat": "cat",
    "stack": "stack",
}
SIDES = {"skip": "add", "branch": "add", "gate": "mul"}
"""Which join it is that these are operands of."""


def by_owner(parts: Iterable[Component]) -> dict[str, list[Component]]:
    """Parts by the path of the module that they are of."""
    found: dict[str, list[Component]] = {}
    for part in parts:
        found.setdefault(part.path, []).append(part)
    return found


def picked(own: Sequence[Component], suffix: Suffix) -> list[Component]:
    """Those of a module's own parts that `suffix` names, perhaps none."""
    if suffix.name == "head":
        return _heads([part for part in own if part.kind == "head"], suffix)
    wanted = None if suffix.index is None else suffix.index.first
    if suffix.name in JOINS:
        return _joins(own, suffix, wanted)
    return [
        part
        for part in own
        if suffix.name == (part.part if part.kind == "function" else part.kind)
        and wanted in (None, part.index)
    ]


def part_at_call(part: Component, call: int, record: Record) -> Component:
    """The part in one call of its module.

    Raises:
        TargetError: It lies in a module that runs at other times than its owner.
    """
    place = part.place or Place(())
    often = _calls(part.path, record)
    for site in place.sites:
        if site.path != part.path and _calls(site.path, record) != often:
            raise TargetError(
                f"'{part.name}': it is cut in {site.path!r}, which does not run once "
                f"for every call of {part.path!r}; name it without '@{call}'"
            )
    sites = tuple(replace(site, call=call) for site in place.sites)
    name = f"{part.path}@{call}:{part.name.partition(':')[2]}"
    return replace(part, name=name, call=call, place=replace(place, sites=sites))


def _calls(path: str, record: Record) -> int:
    facts = record.facts.get(path)
    return facts.calls if facts else 0


def _joins(
    own: Iterable[Component], suffix: Suffix, wanted: int | None
) -> list[Component]:
    """Results or operands of joins; those of residual adds and gates too.

    The parts tell which joins there are. Each of them has a result and operands,
    whether these are parts of their own or not.
    """
    joins: dict[int, list[Component]] = {}
    for part in own:
        site = join_of(part)
        if site is not None and site.function == suffix.name and site.index is not None:
            joins.setdefault(site.index, []).append(part)
    found: list[Component] = []
    for index in sorted(joins):
        if wanted in (None, index):
            named = _of_join(joins[index], suffix.name, index, suffix.operand)
            found += [named] if named else []
    return found


def join_of(part: Component) -> Site | None:
    """Where the join is that this is an operand or the result of."""
    function = SIDES.get(part.kind, part.kind)
    if function not in JOINS or part.place is None:
        return None
    return next((s for s in part.place.sites if s.function == function), None)


def operands(parts: Iterable[Component], name: str) -> int:
    """How many operands a join has, as far as its parts tell."""
    known = [s.operand for part in parts if (s := join_of(part)) and s.operand]
    return max([*known, 1 if name in ("add", "mul") else 0]) + 1


def _of_join(
    parts: Sequence[Component], name: str, index: int, operand: int | None
) -> Component | None:
    for part in parts:
        if part.kind == name and part.operand == operand:
            return part
    if operand is not None and operand >= operands(parts, name):
        return None
    like = parts[0]
    site = join_of(like)
    assert site is not None and like.place is not None  # as it is part of a join
    tail = "" if operand is None else f".arg{operand}"
    return Component(
        f"{like.path}:{name}#{index}{tail}",
        JOIN_KINDS[name],
        like.path,
        index=index,
        operand=operand,
        place=Place((replace(site, operand=operand),), listed=False),
        facts=like.facts,
    )


def _heads(heads: Sequence[Component], suffix: Suffix) -> list[Component]:
    """Each head, or a range of them as one component."""
    by_number = {part.slice.first: part for part in heads if part.slice}
    index = suffix.index or Index()
    if index.first is None or index.last is None:
        return [by_number[number] for number in sorted(by_number)]
    numbers = range(index.first, index.last + 1)
    if not all(number in by_number for number in numbers):
        return []
    members = [by_number[number] for number in numbers]
    first = members[0]
    if len(members) == 1:
        return [first]
    places = [part.place or Place(()) for part in members]
    together = Place(
        _joined(site for place in places for site in place.sites),
        listed=False,
    )
    name = f"{first.path}:head#{index}"
    part = Slice("head", index.first, index.last)
    return [replace(first, name=name, slice=part, place=together)]


def _joined(sites: Iterable[Site]) -> tuple[Site, ...]:
    """Sites that differ in their pieces only as one, with neighbours joined."""
    pieces: dict[Site, list[tuple[int, int]]] = {}
    for site in sites:
        pieces.setdefault(replace(site, pieces=()), []).extend(site.pieces)
    return tuple(
        replace(site, pieces=tuple(_neighbours(sorted(found))))
        for site, found in pieces.items()
    )


def _neighbours(pieces: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for first, last in pieces:
        if joined and first == joined[-1][1] + 1:
            joined[-1] = joined[-1][0], last
        else:
            joined.append((first, last))
    return joined
