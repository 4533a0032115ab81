"""Target x model (x record) to components."""

from __future__ import annotations

from torch import nn
from torch.nn.parameter import is_lazy

from surgery.anatomy._component import Component, Facts
from surgery.anatomy._record import Record
from surgery.anatomy._spelling import canonical
from surgery.errors import NoEffectError, TargetError
from surgery.targets._inputs import inputs
from surgery.targets._match import (
    matching_modules,
    matching_parameters,
    modules_between,
)
from surgery.targets._names import Names
from surgery.targets._nearest import nothing_named
from surgery.targets._parse import parse
from surgery.targets._running import called_often, expand
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
    return resolve_in(Names(model), target, record, called_only)


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
    names: Names, target: object, record: Record | None, called_only: bool
) -> tuple[Component, ...]:
    """`resolve`, for a model whose names are known already."""
    if isinstance(target, Component) and record is None and called_only:
        if found := _as_recorded(names, target):
            return found
    target = as_target(target)
    where = target.where
    if isinstance(where, Input):
        return inputs(where, record)
    if target.suffix is not None:
        return inside(names, target, target.suffix, record)
    found = _modules(names, target, record, called_only) or _parameters(
        names, target, record
    )
    if not found:
        raise TargetError(nothing_named(names, str(where), record=record))
    return found


def _as_recorded(names: Names, component: Component) -> tuple[Component, ...]:
    """What a component says itself of where in this model it acts, if it does.

    Raises:
        NoEffectError: It says that nothing in it ever ran.
    """
    facts = component.facts
    if facts is None or names.paths.get(component.path) != component.path:
        return ()
    if component.kind != "module":
        return (component,) if _is_its_code(names, component) else ()
    if facts.calls:
        return (component,)
    inside = [f"{component.path}.{name}".lstrip(".") for name in facts.stands_for]
    found = [names.paths[path] for path in inside if path in names.paths]
    if found:
        return tuple(_module(path, None, None) for path in names.in_order(found))
    raise NoEffectError(
        f"'{component}' never ran in the forward that listed it ({facts.note}); pass "
        "`inputs=` of a forward in which it does, or name what runs"
    )


def _is_its_code(names: Names, component: Component) -> bool:
    """Whether the modules that a part was recorded in are of the same classes here.

    Another model may have another forward at the same path.
    """
    place = component.place
    if place is None or len(place.code) != len(place.sites):
        return False
    return all(
        type(names.modules.get(site.path)) is code
        for site, code in zip(place.sites, place.code, strict=True)
    )


def _modules(
    names: Names, target: Target, record: Record | None, called_only: bool
) -> tuple[Component, ...]:
    paths = _matched(names, target.where)
    if not paths:
        return ()
    paths = expand(names, paths, str(target), record, called_only)
    if target.call is not None:
        paths = called_often(paths, target, target.call, record)
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
    name = canonical(path)
    facts = None if record is None else record.facts.get(path)
    if call is not None:
        name = f"{name}@{call}"
    return Component(name, "module", path, call=call, facts=facts)


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
