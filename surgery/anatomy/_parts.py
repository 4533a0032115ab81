"""Parts: the components that modules' own code holds, from what the ledger has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from surgery.anatomy._component import Component, Facts, Place, Site, Slice
from surgery.anatomy._ledger import Entry, Key, Ledger
from surgery.anatomy._spelling import canonical, is_plain, owner

_ORDINAL = ("skip", "branch", "gate")
"""Kinds that are counted apart from the function they are found in."""


def parts_of(
    ledger: Ledger, facts: Mapping[str, Facts], parameters: Mapping[int, str]
) -> tuple[Component, ...]:
    """Everything in the ledger that a target can name.

    Args:
        ledger: What ran.
        facts: Facts of every module, by path.
        parameters: Names of the parameters, by identity.
    """
    several = Counter(
        (key.owner, key.kind) for key in ledger.entries if key.kind in _ORDINAL
    )
    return tuple(
        _part(
            key,
            entry,
            ledger,
            facts,
            parameters,
            lone=several[key.owner, key.kind] == 1,
        )
        for key, entry in ledger.entries.items()
        if _nameable(key.owner)
    )


def _nameable(path: str) -> bool:
    return not path or (is_plain(path) and canonical(path) == path)


def _part(
    key: Key,
    entry: Entry,
    ledger: Ledger,
    facts: Mapping[str, Facts],
    parameters: Mapping[int, str],
    lone: bool,
) -> Component:
    modules = tuple(path for path in entry.modules if path in facts)
    inside = tuple(f"{path}." for path in modules)
    used = (parameters[x] for x in entry.parameters if x in parameters)
    direct = tuple(name for name in used if not name.startswith(inside))
    return Component(
        name=f"{owner(key.owner, facts[key.owner].type)}:{_spelled(key, lone)}",
        kind=key.kind,
        path=key.owner,
        part=key.function if key.kind == "function" else None,
        slice=Slice("head", key.index, key.index) if key.kind == "head" else None,
        index=None if key.kind == "head" else key.index,
        operand=key.operand,
        place=Place(
            _sites(entry, ledger),
            modules,
            direct,
            projected=entry.projected,
            constant=entry.constant,
            listed=entry.listed,
        ),
        facts=Facts(
            type=entry.type,
            calls=entry.calls,
            input_shape=entry.input_shape,
            output_shape=entry.output_shape,
            parameters=sum(facts[path].parameters for path in modules),
            macs=sum(facts[path].macs for path in modules),
            identity=entry.identity,
            note="; ".join(entry.notes),
        ),
    )


def _spelled(key: Key, lone: bool) -> str:
    if key.kind in _ORDINAL and lone:
        return key.kind
    word = key.kind if key.kind in (*_ORDINAL, "head") else key.function
    operand = "" if key.operand is None else f".arg{key.operand}"
    return f"{word}#{key.index}{operand}"


def _sites(entry: Entry, ledger: Ledger) -> tuple[Site, ...]:
    """Where it is: without a call, where it is there in every call of the module."""
    sites: list[Site] = []
    for site, calls in entry.calls_at.items():
        if calls == ledger.calls[site.path]:
            sites.append(site)
        else:
            sites += [replace(site, call=call) for call in sorted(calls)]
    return tuple(sites)
