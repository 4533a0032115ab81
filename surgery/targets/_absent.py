"""What to say when no module has the part that a suffix names: what there is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from surgery.anatomy._component import Component
from surgery.targets._nearest import summary
from surgery.targets._parts import join_of, operands
from surgery.targets._target import JOINS, Suffix, Target

_LACKS = {
    "skip": "performs no residual add",
    "branch": "performs no residual add",
    "gate": "has no multiplicative gate",
    "head": "runs no attention whose heads are known",
}


def absent(
    owners: Sequence[str], target: Target, suffix: Suffix, parts: Sequence[Component]
) -> str:
    """The message, with the nearest target that is valid."""
    alike = [part for part in parts if _alike(part, suffix)]
    having = {part.path for part in alike}
    # Of several modules, one that has it but not that one tells the most.
    owner = next((path for path in owners if path in having), owners[0])
    own = [part for part in parts if part.path == owner]
    here = [part for part in alike if part.path == owner]
    who = repr(owner) if owner else "the model"
    if len(owners) > 1:
        who = f"none of the {len(owners)} modules that match has it; {who}"
    said = f"'{target}': {who} "
    if here:
        return said + _which(here, suffix)
    lacks = _LACKS.get(suffix.name, f"calls no {suffix.name!r} in its own code")
    return said + "; ".join([lacks, *_hints(owner, own, alike, suffix)])


def _alike(part: Component, suffix: Suffix) -> bool:
    if suffix.name in JOINS:
        site = join_of(part)
        return site is not None and site.function == suffix.name
    if part.kind == "function":
        return part.part == suffix.name
    return part.kind == suffix.name


def _which(here: Sequence[Component], suffix: Suffix) -> str:
    """It has such parts, but not that one: those it has."""
    if suffix.name == "head":
        last = max(part.slice.last for part in here if part.slice)
        return f"has heads 0..{last}"
    if suffix.name not in JOINS:
        return _counted({part.index or 0 for part in here}, suffix.name)
    sites = [(part, site) for part in here if (site := join_of(part))]
    indices = {site.index or 0 for _, site in sites}
    wanted = suffix.index.first if suffix.index else None
    if wanted is not None and wanted not in indices:
        return _counted(indices, suffix.name)
    chosen = [part for part, site in sites if wanted in (None, site.index)]
    last = operands(chosen, suffix.name) - 1
    which = "" if wanted is None else f"#{wanted}"
    return f"has `:{suffix.name}{which}` with operands .arg0 to .arg{last}"


def _counted(indices: set[int], name: str) -> str:
    if indices == {0}:
        return f"has one `:{name}`; write `:{name}` or `:{name}#0`"
    return f"has `:{name}#{min(indices)}` to `:{name}#{max(indices)}`"


def _hints(
    owner: str, own: Iterable[Component], alike: Sequence[Component], suffix: Suffix
) -> Iterable[str]:
    if suffix.name in ("skip", "branch"):
        yield from _plain_operand(own, "add", suffix.name)
    if suffix.name == "gate":
        yield from _plain_operand(own, "mul", suffix.name)
    if suffix.name not in _LACKS:
        called = dict.fromkeys(_function(part) for part in own)
        names = [name for name in called if name]
        near = difflib.get_close_matches(suffix.name, names, n=1)
        if near:
            yield f"did you mean '{owner}:{near[0]}'?"
        elif names:
            yield f"it calls {summary(names)}"
    other = _nearest(owner, alike)
    if other is not None:
        yield f"{other.path!r} does: '{other}'" if other.path else f"there is '{other}'"
    elif suffix.name in _LACKS:
        yield "no module of this model does, as far as this forward tells"


def _plain_operand(own: Iterable[Component], join: str, kind: str) -> Iterable[str]:
    for part in own:
        if part.kind == join and part.operand is not None:
            number = f"{join}#{part.index}"
            side = "no sure skip side" if join == "add" else "no sure multiplier"
            yield f"its {number} has {side}, so no `:{kind}`; use '{part.name}'"
            return


def _function(part: Component) -> str:
    site = join_of(part)
    return site.function if site is not None else part.part or ""


def _nearest(owner: str, alike: Sequence[Component]) -> Component | None:
    """Of such parts elsewhere, that of the closest relative, then of the nearest name.

    The module around the owner, then what is in the owner.
    """
    around = [p for p in alike if not p.path or owner.startswith(f"{p.path}.")]
    named = [p for p in around if p.path]
    inside = [p for p in alike if not owner or p.path.startswith(f"{owner}.")]
    if named:
        return max(named, key=lambda part: len(part.path))
    if inside:
        return inside[0]
    paths = {part.path: part for part in reversed(alike)}
    near = difflib.get_close_matches(owner, list(paths), n=1, cutoff=0.0)
    return paths[near[0]] if near else None
