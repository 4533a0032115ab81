"""Several targets at once: one group of components, or one row for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias, TypeGuard

from torch import nn

from surgery.anatomy._component import Component
from surgery.anatomy._record import Record
from surgery.anatomy._spelling import canonical
from surgery.errors import TargetError
from surgery.targets._names import Names
from surgery.targets._overlap import without_repetition
from surgery.targets._resolve import as_target, resolve_in
from surgery.targets._target import Range, Target

TargetLike: TypeAlias = "str | Target | Component | Sequence[TargetLike]"


def resolve_group(
    model: nn.Module,
    targets: TargetLike,
    record: Record | None = None,
    *,
    called_only: bool = True,
) -> tuple[Component, ...]:
    """The union of targets as one group: nothing twice, nothing inside another.

    Args:
        model: The model, without wrappers.
        targets: One target, or a sequence of them, nested as deep as one likes.
        record: As in `resolve`.
        called_only: As in `resolve`.

    Raises:
        TargetError: If one of them does not parse or names nothing, or if two overlap
            and neither is inside the other.
        NoEffectError: If what one of them names was recorded never to run.
    """
    return _group(Names(model), _flat(targets, model), record, called_only)


def resolve_each(
    model: nn.Module,
    targets: TargetLike,
    record: Record | None = None,
    *,
    called_only: bool = True,
) -> tuple[tuple[str, tuple[Component, ...]], ...]:
    """The rows of a ranking: the name of each and its members.

    Each component that a target names is a row of its own. A range, and a list
    inside the list, is one row of several members. The first of equal rows stays.

    Args:
        model: The model, without wrappers.
        targets: One target, or a sequence of targets and of lists of them.
        record: As in `resolve`.
        called_only: As in `resolve`.

    Raises:
        TargetError: If one of them does not parse or names nothing.
        NoEffectError: If what one of them names was recorded never to run.
    """
    names = Names(model)
    rows: dict[frozenset[Component], tuple[str, tuple[Component, ...]]] = {}
    for member in _members(targets, model):
        for name, components in _rows(names, member, record, called_only):
            rows.setdefault(frozenset(components), (name, components))
    return tuple(rows.values())


def _rows(
    names: Names, member: object, record: Record | None, called_only: bool
) -> Iterable[tuple[str, tuple[Component, ...]]]:
    if _is_list(member):
        flat = _flat(member, names.model)
        yield (
            " + ".join(map(str, flat)),
            _group(names, flat, record, called_only),
        )
        return
    components = resolve_in(names, member, record, called_only)
    if isinstance(as_target(member).where, Range):
        yield str(member), components
    else:
        yield from ((str(component), (component,)) for component in components)


def _group(
    names: Names,
    targets: Sequence[str | Target | Component],
    record: Record | None,
    called_only: bool,
) -> tuple[Component, ...]:
    union = dict.fromkeys(
        component
        for target in targets
        for component in resolve_in(names, target, record, called_only)
    )
    whole = {c.path for c in union if c.kind == "module" and c.call is None}
    return without_repetition([c for c in union if not _covered(names, c, whole)])


def _covered(names: Names, component: Component, whole: set[str]) -> bool:
    """Whether it runs only inside modules that are in the group as wholes."""
    if component.kind in ("parameter", "input"):
        return False
    itself = component.kind == "module" and component.call is None
    if not itself and component.path in whole:
        return True
    return all(
        any(names.paths[outer] in whole for outer in _ancestors(alias))
        for alias in names.aliases(component.path)
    )


def _ancestors(path: str) -> Iterable[str]:
    while path:
        path = path.rpartition(".")[0]
        yield path


def _members(targets: object, model: nn.Module) -> Sequence[object]:
    if not _is_list(targets):
        return [_one(targets, model)]
    if not targets:
        raise TargetError(
            "no targets: the list is empty; write one, such as 'layer1.0'"
        )
    return [m if _is_list(m) else _one(m, model) for m in targets]


def _flat(targets: object, model: nn.Module) -> list[str | Target | Component]:
    flat: list[str | Target | Component] = []
    for member in _members(targets, model):
        if _is_list(member):
            flat += _flat(member, model)
        else:
            flat.append(_one(member, model))
    return flat


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _one(value: object, model: nn.Module) -> str | Target | Component:
    if isinstance(value, str | Target | Component):
        return value
    hint = ""
    if isinstance(value, nn.Module):
        found = (name for name, m in model.named_modules() if m is value and name)
        hint = "; name the module by its path"
        hint += "".join(f": {canonical(name)!r}" for name in found)
    raise TargetError(
        "a target is a str such as 'layer1.0', a Component, or a list of these, got "
        f"{type(value).__name__}{hint}"
    )
