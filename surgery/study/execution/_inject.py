"""Calling users' functions with the arguments that they name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from surgery.errors import StudyError

FACTORY = ("config", "seed", "features", "component", "context", "tier", "device")
OFFERED: Mapping[str, tuple[str, ...]] = {
    "model": FACTORY,
    "data": FACTORY,
    "train": ("model", "data", "reporter", *FACTORY),
    "custom model": ("model", *FACTORY),
    "inputs": ("data", *FACTORY),
}
"""The arguments that each kind of function may take, by name."""


def takes(function: Callable[..., object], name: str) -> bool:
    """Whether the function has a parameter of that name."""
    return name in (_parameters(function) or {})


def check_parameters(function: Callable[..., object], role: str) -> None:
    """Raise if the function requires what nobody gives it.

    Raises:
        StudyError: Says which argument, and what there is.
    """
    wrong: list[str] = []
    offered = OFFERED[role]
    for name, parameter in (_parameters(function) or {}).items():
        kind = parameter.kind
        if kind in (kind.VAR_POSITIONAL, kind.VAR_KEYWORD):
            continue
        required = parameter.default is parameter.empty
        if kind == kind.POSITIONAL_ONLY and required:
            wrong.append(f"{name!r} by position only, but arguments go by name")
        elif required and name not in offered:
            near = difflib.get_close_matches(name, offered, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            wrong.append(f"{name!r}{hint}")
    if wrong:
        title = getattr(function, "__qualname__", type(function).__name__)
        raise StudyError(
            f"the {role} function {title} requires {', '.join(wrong)}; it may take, by "
            f"name, {', '.join(offered)}, and others that have defaults"
        )


def call_by_name(function: Callable[..., Any], arguments: Mapping[str, object]) -> Any:
    """Calls the function with those of the arguments that it takes."""
    parameters = _parameters(function)
    if parameters is None:  # no signature, as some builtins
        return function()
    everything = any(p.kind == p.VAR_KEYWORD for p in parameters.values())
    wanted = {
        name: value
        for name, value in arguments.items()
        if everything or name in parameters
    }
    return function(**wanted)


def _parameters(
    function: Callable[..., object],
) -> Mapping[str, inspect.Parameter] | None:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None
