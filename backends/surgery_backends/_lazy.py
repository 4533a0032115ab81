"""Recognition: finding a part in its owner's own forward, where no record was made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from surgery.anatomy import Component, Sighting, Site, Tracker
from surgery.errors import BackendError, OperationError, TargetError
from surgery_backends._taps import SiteTap, Tap

_JOIN = {"skip": "add", "branch": "add", "gate": "mul"}
_SAID = {"skip": "residual adds", "branch": "residual adds", "gate": "gates"}


class LazyTap:
    """A tap whose sites its owner's forward tells.

    Attributes:
        found: The sites that the last forward told, each with the frame of the module
            that it is in; for compiled code, which cannot look for itself.
    """

    def __init__(self, tap: Tap) -> None:
        self.tap = tap
        self.component = tap.component
        self.found: tuple[tuple[object, SiteTap], ...] = ()

    def takes_part(self) -> bool:
        """Whether it acts in the call of the owner that begins; counts calls."""
        wanted = self.component.call
        if wanted is None:
            return True
        clock = self.tap.action.clock
        if not clock.under_way:
            raise OperationError(
                f"{self.component} ran outside of a forward of the model, where calls "
                "cannot be counted; call the model itself, as in model(x), or target "
                "all calls of the module"
            )
        return clock.tick(id(self)) == wanted

    def known(self) -> tuple[tuple[object, SiteTap], ...]:
        """The sites, for compiled code.

        Raises:
            BackendError: No forward has told them.
        """
        if not self.found:
            raise BackendError(
                f"{self.component} is not known yet, and compiled code cannot look for "
                "it; pass an example to inputs=, or run the model once before it is "
                "compiled or exported"
            )
        return self.found


class Recognition:
    """What is recognised in one call of an owner.

    Attributes:
        tracker: Follows the owner's data; fed by the frames inside it.
        key: What stands for the owner's path in it.
    """

    def __init__(self, key: str, lazies: Sequence[LazyTap]) -> None:
        self.tracker = Tracker()
        self.key = key
        self.lazies = lazies
        self._seen: dict[str, set[int]] = {}
        self._found: dict[int, list[tuple[object, SiteTap]]] = {}
        self._moving: set[int] = set()

    def sites(self, sighting: Sighting, frame: object) -> Iterator[SiteTap]:
        """What is to happen at the call of a function that was sighted in a frame."""
        for lazy in self.lazies:
            for site, projected in self._means(lazy, sighting):
                tap = SiteTap(lazy.tap, site, projected)
                self._found.setdefault(id(lazy), []).append((frame, tap))
                if site.path != self.key and sighting.call:
                    self._moving.add(id(lazy))
                yield tap

    def finish(self) -> None:
        """The owner's call ended well.

        Raises:
            TargetError: It has fewer of them.
        """
        for lazy in self.lazies:
            found = self._found.get(id(lazy), [])
            seen = self._seen.get(lazy.component.kind, set())
            if seen and not _named(lazy.component) <= seen:
                raise TargetError(_out_of_range(lazy.component, seen))
            # A site in a module that runs again in here does not tell them apart.
            lazy.found = () if id(lazy) in self._moving else tuple(found)

    def _means(self, lazy: LazyTap, s: Sighting) -> Iterator[tuple[Site, bool]]:
        component = lazy.component
        kind = component.kind
        seen = self._seen.setdefault(kind, set())
        if kind == "head":
            cuts = [cut for cut in s.heads if cut.owner == self.key]
            seen.update(cut.head for cut in cuts)
            site = Site(s.path, s.function, s.index)
            part = component.slice
            assert part is not None
            pieces: dict[Site, list[tuple[int, int]]] = {}
            for cut in cuts:
                if part.first <= cut.head <= part.last:
                    at = replace(site, operand=cut.operand, axis=cut.axis)
                    pieces.setdefault(at, []).extend(cut.pieces)
            for at, ranges in pieces.items():
                yield replace(at, pieces=tuple(_joined(ranges))), False
            return
        if s.path != self.key:
            return
        if s.undecided and s.function == _JOIN[kind]:
            self._require_decided(lazy)
        site = Site(s.path, s.function, s.index)
        if kind == "gate":
            if s.gate is not None:
                seen.add(s.gate.ordinal)
                if component.index in (None, s.gate.ordinal):
                    yield replace(site, operand=s.gate.operand), False
        elif s.residual is not None:
            r = s.residual
            seen.add(r.ordinal)
            if component.index in (None, r.ordinal):
                operand = r.skip if kind == "skip" else r.branch
                yield replace(site, operand=operand), r.projected

    def _require_decided(self, lazy: LazyTap) -> None:
        component = lazy.component
        if component.index is None or id(lazy) not in self._found:
            raise TargetError(
                f"'{component}': {component.path or 'the model'!r} joins tensors that "
                "have nothing in common inside it, so that only a forward of the "
                "whole model tells what they are; pass an example to inputs="
            )


def _named(component: Component) -> set[int]:
    """The numbers that a component says; none if it means all."""
    if part := component.slice:
        return set(range(part.first, part.last + 1))
    return set() if component.index is None else {component.index}


def _out_of_range(component: Component, seen: set[int]) -> str:
    what = _SAID.get(component.kind, "attention heads")
    last = max(seen)
    prefix, _, _ = component.name.partition("#")
    return (
        f"'{component}': {component.path or 'the model'!r} has {last + 1} {what}; the "
        f"last is '{prefix}#{last}'"
    )


def _joined(pieces: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges with neighbours made one."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(pieces):
        if joined and first == joined[-1][1] + 1:
            joined[-1] = joined[-1][0], last
        else:
            joined.append((first, last))
    return joined
