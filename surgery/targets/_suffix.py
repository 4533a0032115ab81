"""What a suffix names inside the modules before it: one function per kind.

Each is given the owners (the modules that the text before the suffix names) and
gives the components inside them. So far each says what it would need.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from surgery.anatomy._component import Component
from surgery.errors import TargetError
from surgery.targets._target import JOINS, RESIDUAL, Suffix, Target


def inside(
    owners: Sequence[Component], suffix: Suffix, target: Target
) -> tuple[Component, ...]:
    """The components that `suffix` names inside `owners`."""
    if owners[0].kind == "parameter":
        raise TargetError(
            f"'{target}': {owners[0]} is a parameter, and a suffix follows a module; "
            f"remove `{suffix}`"
        )
    if suffix.name in RESIDUAL:
        return residual(owners, target)
    if suffix.name in JOINS:
        return operands(owners, target)
    if suffix.name == "head":
        return heads(owners, target)
    if suffix.name == "channel":
        return channels(owners, target)
    return functions(owners, target)


def residual(owners: Sequence[Component], target: Target) -> NoReturn:
    """Skips, branches and gates of the owners' own forwards."""
    _later(owners, target, "skips, branches and gates")


def operands(owners: Sequence[Component], target: Target) -> NoReturn:
    """Operands of the adds, muls, cats and stacks in the owners' own forwards."""
    _later(owners, target, "joins")


def heads(owners: Sequence[Component], target: Target) -> NoReturn:
    """Attention heads of the owners."""
    _later(owners, target, "attention heads")


def channels(owners: Sequence[Component], target: Target) -> NoReturn:
    """Output channels of the owners."""
    _later(owners, target, "channels of a module")


def functions(owners: Sequence[Component], target: Target) -> NoReturn:
    """Functions that the owners' own code calls."""
    _later(owners, target, "functions that a module's code calls")


def _later(owners: Sequence[Component], target: Target, what: str) -> NoReturn:
    texts = [repr(str(owner)) for owner in owners if owner.path or owner.part]
    if not texts:
        hint = "Name a module of the model, e.g. '**' for each"
    else:
        more = f" (and {len(texts) - 3} more)" if len(texts) > 3 else ""
        hint = f"What exists is {', '.join(texts[:3])}{more}"
    raise TargetError(
        f"'{target}': this version resolves modules, call-sites, parameters and "
        f"inputs only, not yet {what}. {hint}."
    )
