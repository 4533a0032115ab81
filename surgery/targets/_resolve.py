"""Target x model (x record) to components."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.nn.parameter import is_lazy

from surgery.anatomy._component import Component, Facts
from surgery.anatomy._record import Record
from surgery.anatomy._spelling import canonical
from surgery.errors import TargetError
from surgery.targets._inputs import inputs
from surgery.targets._match import (
    matching_modules,
    matching_parameters,
    modules_between,
)
from surgery.targets._names import Names
from surgery.targets._nearest import nothing_named
from surgery.targets._parse import parse
from surgery.targets._running import expand
from surgery.targets._suffix import inside
from surgery.targets._target import Input, Path, Range, Regex, Target


def resolve(
    model: nn.Module,
    target: str | Target | Component,
    record: Record | None = None,
    *,
    called_only: bool = True,
) -> tuple[Component, ...]:
    """All components that one target names, in `named_modules()` order.

    Args:
        model: The model, without wrappers.
        target: What to look for.
        record: One recorded forward, if there was one: with it, containers are told
            from modules that run, numbers are checked, components carry facts.
        called_only: Leave out modules that never run, as operations on outputs
            need; otherwise they are returned too, as operations on parameters need.

    Raises:
        TargetError: If it does not parse or names nothing; never an empty result.
        NoEffectError: If what it names was recorded never to run.
    """
    return resolve_in(Names(model), as_target(target), record, called_only)


def as_target(target: object) -> Target:
    """A target from its text or from a component."""
    if isinstance(target, Target):
        return target
    if isinstance(target, str | Component):
        return parse(str(target))
    raise TargetError(
        "a target is a str such as 'layer1.0', a Component, or a list of these, got "
        f"{type(target).__name__}"
    )


def resolve_in(
    names: Names, target: Target, record: Record | None, called_only: bool
) -> tuple[Component, ...]:
    """`resolve`, for a model whose names are known already."""
    where = target.where
    if isinstance(where, Input):
        return inputs(where, record)
    found = _modules(names, target, record, called_only) or _parameters(
        names, target, record
    )
    if not found:
        raise TargetError(nothing_named(names, str(where), record=record))
    return inside(found, target.suffix, target) if target.suffix else found


def _modules(
    names: Names, target: Target, record: Record | None, called_only: bool
) -> tuple[Component, ...]:
    paths = _matched(names, target.where)
    if not paths:
        return ()
    if paths != [""]:
        paths = expand(names, paths, str(target), record, called_only)
    if target.call is not None:
        paths = _called_often(paths, target, target.call, record)
    return tuple(_module(path, target.call, record) for path in paths)


def _matched(names: Names, where: Path | Regex | Range | Input) -> list[str]:
    match where:
        case Range():
            return modules_between(names, where)
        case Path() | Regex():
            return matching_modules(names, where)
        case Input():
            return []


def _module(path: str, call: int | None, record: Record | None) -> Component:
    name = canonical(path) if path else ""
    facts = None if record is None else record.facts.get(path)
    if call is not None:
        name = f"{name}@{call}"
    return Component(name, "module", path, call=call, facts=facts)


def _called_often(
    paths: Sequence[str], target: Target, call: int, record: Record | None
) -> list[str]:
    """Those called more than `call` times; without a record nobody knows: all."""
    if record is None:
        return list(paths)
    calls = {p: facts.calls for p in paths if (facts := record.facts.get(p))}
    kept = [path for path in paths if calls.get(path, 0) > call]
    if kept:
        return kept
    most = max(calls.values(), default=0)
    who = repr(paths[0]) if len(paths) == 1 else f"each of the {len(paths)} modules"
    times = f"{most} time{'' if most == 1 else 's'}"
    often = f"is called {'' if len(paths) == 1 else 'at most '}{times} in this forward"
    hint = f"call-sites count from @0 to @{most - 1}" if most else "it has no call-site"
    raise TargetError(f"'{target}': {who} {often}; {hint}.")


def _parameters(
    names: Names, target: Target, record: Record | None
) -> tuple[Component, ...]:
    where = target.where
    if not isinstance(where, Path | Regex):
        return ()
    found = matching_parameters(names, where)
    if found and target.call is not None:
        raise TargetError(
            f"'{target}': {found[0]!r} is a parameter, which is not called; remove "
            f"`@{target.call}`"
        )
    return tuple(_parameter(names, name, record) for name in found)


def _parameter(names: Names, name: str, record: Record | None) -> Component:
    owner, _, part = name.rpartition(".")
    facts = None
    if record is not None:
        tensor = names.parameters[name]
        used = record.facts.get(owner)
        known = not is_lazy(tensor)
        facts = Facts(
            type="Parameter",
            calls=used.calls if used else 0,
            output_shape=tuple(tensor.shape) if known else None,
            parameters=tensor.numel() if known else 0,
        )
    return Component(canonical(name), "parameter", owner, part=part, facts=facts)
