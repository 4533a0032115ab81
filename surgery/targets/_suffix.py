"""What a suffix names inside the modules before it.

With a record the parts that the forward showed are filtered. Without one, what can be
built from the text is built, and the rest is recognised in the modules' next forward.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from surgery.anatomy._component import Component
from surgery.anatomy._record import Record
from surgery.anatomy._spelling import canonical, owner
from surgery.errors import TargetError
from surgery.targets._absent import absent
from surgery.targets._channels import channels
from surgery.targets._match import matching_modules, matching_parameters
from surgery.targets._names import Names
from surgery.targets._nearest import nothing_named
from surgery.targets._parts import by_owner, part_at_call, picked
from surgery.targets._running import called_often, require_running
from surgery.targets._target import Path, Suffix, Target
from surgery.targets._unseen import function_of_text, unseen_part


def inside(
    names: Names, target: Target, suffix: Suffix, record: Record | None
) -> tuple[Component, ...]:
    """The components that `suffix` names, module by module; never none.

    Modules that lack such a part are left out.

    Raises:
        TargetError: No module has it; says what they have and which modules do.
        NoEffectError: None of the modules was seen to run.
    """
    owners = _owners(names, target, record)
    suffix = replace(suffix, name=function_of_text(suffix.name))
    if suffix.name == "channel":
        return _spelled(names, channels(names, owners, target, record))
    if record is None:
        unseen = (unseen_part(path, target.call, suffix) for path in owners)
        return _spelled(names, unseen)
    parts = by_owner(record.parts)
    found = [
        part if target.call is None else part_at_call(part, target.call, record)
        for path in owners
        for part in picked(parts.get(path, []), suffix)
    ]
    if not found:
        raise TargetError(absent(owners, target, suffix, record.parts))
    return _spelled(names, found)


def _spelled(names: Names, parts: Iterable[Component]) -> tuple[Component, ...]:
    """Parts, of which each is named so that its name can be read."""
    return tuple(
        replace(part, name=f"{_owner(names, part.path)}:{part.name[3:]}")
        if part.name.startswith("re:")
        else part
        for part in parts
    )


def _owner(names: Names, path: str) -> str:
    return owner(path, type(names.modules[path]).__name__)


def _owners(names: Names, target: Target, record: Record | None) -> list[str]:
    where = target.where
    assert isinstance(where, Path)  # a Target has suffixes after nothing else
    paths = matching_modules(names, where)
    if not paths and (parameters := matching_parameters(names, where)):
        raise TargetError(
            f"'{target}': {parameters[0]!r} is a parameter, and a suffix follows a "
            f"module; remove `{target.suffix}`"
        )
    if not paths:
        raise TargetError(nothing_named(names, str(where), record=record))
    owners = require_running(names, paths, target, record)
    if target.call is not None:
        owners = called_often(owners, target, target.call, record)
    # A name that only a regular expression can spell takes no suffix.
    plain = [path for path in owners if not path or canonical(path) == path]
    if not plain:
        raise TargetError(
            f"'{target}': the name of {owners[0]!r} means something else in the "
            f"language of targets (it is written '{canonical(owners[0])}'), so that no "
            "suffix can follow it; target the module whole, or rename it"
        )
    return plain
