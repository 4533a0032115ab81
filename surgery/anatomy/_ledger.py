"""Ledger: every call of a torch function in a recorded forward, put together.

One thing (a residual add's skip, the third `relu`) that runs several times is one
entry; where it ran tells whether it is there in every call of its module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from surgery.anatomy._component import Kind, Shape, Site
from surgery.anatomy._fit import Look, find_fit
from surgery.anatomy._function_kinds import CONVERTING
from surgery.anatomy._functions import JOINS, LISTS
from surgery.anatomy._sighting import Residual, Sighting
from surgery.anatomy._structure import main_tensor


@dataclass(frozen=True)
class Key:
    """What tells one entry from another."""

    owner: str
    kind: Kind
    function: str
    index: int
    operand: int | None = None


@dataclass
class Entry:
    """What was seen of one thing in a module's own code."""

    type: str
    listed: bool = True
    input_shape: Shape | None = None
    output_shape: Shape | None = None
    identity: str = "no"
    projected: bool = False
    constant: bool = False
    calls: int = 0
    modules: dict[str, None] = field(default_factory=dict[str, None])
    parameters: dict[int, None] = field(default_factory=dict[int, None])
    notes: dict[str, None] = field(default_factory=dict[str, None])
    calls_at: dict[Site, set[int]] = field(default_factory=dict[Site, set[int]])


@dataclass(frozen=True)
class Call:
    """One call of a function, as it was before it ran.

    Attributes:
        seen: What it is.
        in_place: Whether it changes its first operand.
        given: How its operands look; `None` for what is no tensor, or one that does
            not tell its shape.
        inputs: Likewise of what went into the module whose own code it is.
    """

    seen: Sighting
    in_place: bool
    given: Sequence[Look | None]
    inputs: Sequence[Look | None]


class Ledger:
    """The entries, in order of execution."""

    def __init__(self) -> None:
        self.entries: dict[Key, Entry] = {}
        self.calls: dict[str, set[int]] = {}
        # What the own code of a running call gave last: the entry and the tensor's id.
        self._latest: dict[tuple[str, int], tuple[Key, int]] = {}

    def entered(self, path: str, call: int) -> None:
        """A module's call begins."""
        self.calls.setdefault(path, set()).add(call)

    def left(self, path: str, call: int, childless: bool, output: object) -> None:
        """A module's call ended: what a childless one returns, it names itself."""
        key, made = self._latest.pop((path, call), (None, 0))
        result = main_tensor(output)
        if childless and key is not None and result is not None and made == id(result):
            self.entries[key].listed = False

    def note(self, call: Call, output: object, live: bool) -> None:
        """A function ran.

        Args:
            call: What it is.
            output: What it gave.
            live: Whether data of the model's inputs is in that.
        """
        seen, result = call.seen, main_tensor(output)
        if result is None:
            return
        out = Look.of(result)
        shape = None if out is None else tuple(out.shape)
        key = Key(seen.path, "function", seen.function, seen.index)
        if seen.function in JOINS or seen.function in LISTS:
            key = self._join(call, shape)
        else:
            entry = self._entry(key, call, None)
            if entry.calls == 1:
                into = [x for x in call.given if x is not None]
                entry.listed = live and seen.function not in CONVERTING
                entry.input_shape = tuple(into[0].shape) if into else None
                entry.output_shape = shape
                entry.identity = _identity(into, out)
        self._latest[seen.path, seen.call] = key, id(result)
        self._heads(call)

    def _join(self, call: Call, shape: Shape | None) -> Key:
        seen = call.seen
        kind: Kind = {"add": "add", "mul": "mul", "cat": "cat"}.get(  # type: ignore[assignment]
            seen.function, "stack"
        )
        plain = seen.residual is None and seen.gate is None
        known = any(seen.live) if seen.function in LISTS else all(seen.live)
        if seen.residual is not None:
            self._residual(call, seen.residual)
        if seen.gate is not None:
            key = Key(seen.path, "gate", seen.function, seen.gate.ordinal)
            gate = self._operand(key, call, seen.gate.operand)
            gate.constant = not seen.live[seen.gate.operand]
        for position, live in enumerate(seen.live):
            key = Key(seen.path, kind, seen.function, seen.index, position)
            entry = self._operand(key, call, position)
            given = call.given[position]
            entry.listed = plain and known and (given is None or 0 not in given.shape)
            entry.constant = not live
            if not live:
                entry.notes["const operand"] = None
        key = Key(seen.path, kind, seen.function, seen.index)
        entry = self._entry(key, call, None)
        entry.listed = False
        entry.input_shape = entry.output_shape = shape
        return key

    def _residual(self, call: Call, residual: Residual) -> None:
        skip, branch = (call.given[i] for i in (residual.skip, residual.branch))
        for kind, position in (("skip", residual.skip), ("branch", residual.branch)):
            is_skip = kind == "skip"
            key = Key(call.seen.path, kind, "add", residual.ordinal)  # type: ignore[arg-type]
            entry = self._operand(key, call, position)
            ran = residual.skip_modules if is_skip else residual.branch_modules
            entry.modules |= dict.fromkeys(ran)
            into = residual.skip_parameters if is_skip else residual.branch_parameters
            entry.parameters |= dict.fromkeys(into)
            entry.projected = residual.projected  # of a branch: the skip beside it
            if is_skip and residual.projected:
                entry.notes["projected"] = None
            if entry.calls == 1 and (residual.projected or not is_skip):
                operand = skip if is_skip else branch
                inputs = call.inputs if residual.projected else [skip]
                entry.identity = _identity(inputs, operand)

    def _operand(self, key: Key, call: Call, position: int) -> Entry:
        entry = self._entry(key, call, position)
        operand = call.given[position]
        if entry.input_shape is None and operand is not None:
            entry.input_shape = entry.output_shape = tuple(operand.shape)
        return entry

    def _heads(self, call: Call) -> None:
        seen = call.seen
        for cut in seen.heads:
            key = Key(cut.owner, "head", "", cut.head)
            site = Site(
                seen.path,
                seen.function,
                seen.index,
                cut.operand,
                axis=cut.axis,
                pieces=cut.pieces,
            )
            entry = self._at(key, seen, site)
            operand = call.given[cut.operand or 0]
            if entry.input_shape is None and operand is not None:
                entry.input_shape = entry.output_shape = tuple(operand.shape)

    def _entry(self, key: Key, call: Call, operand: int | None) -> Entry:
        seen = call.seen
        entry = self._at(key, seen, Site(seen.path, seen.function, seen.index, operand))
        if call.in_place:
            entry.notes["in place"] = None
        return entry

    def _at(self, key: Key, seen: Sighting, site: Site) -> Entry:
        entry = self.entries.setdefault(key, Entry(seen.function))
        entry.calls += 1
        entry.calls_at.setdefault(site, set()).add(seen.call)
        return entry


def _identity(inputs: Sequence[Look | None], output: Look | None) -> str:
    known = [x for x in inputs if x is not None]
    fit = None if output is None else find_fit(known, output)
    return "no" if fit is None else fit.adapter
