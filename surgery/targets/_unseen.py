"""Parts of a module that no forward has shown: built from the text alone."""

from __future__ import annotations

import difflib
from functools import cache

import torch
import torch.nn.functional as F

from surgery.anatomy._component import Component, Kind, Place, Site, Slice
from surgery.anatomy._functions import function_name
from surgery.errors import TargetError
from surgery.targets._parts import JOIN_KINDS
from surgery.targets._target import Suffix

_RECOGNISED: dict[str, Kind] = {"skip": "skip", "branch": "branch", "gate": "gate"}
_SPACES = (torch, F, torch.Tensor, torch.special, torch.linalg, torch.fft)


def unseen_part(path: str, call: int | None, suffix: Suffix) -> Component:
    """What `suffix` names in the module at `path`, if its next forward has it.

    Raises:
        TargetError: Only a forward can tell which components it names.
    """
    name = f"{path}{'' if call is None else f'@{call}'}{suffix}"
    index = None if suffix.index is None else suffix.index.first
    if suffix.name in _RECOGNISED:
        return Component(name, _RECOGNISED[suffix.name], path, call=call, index=index)
    if suffix.name == "head":
        return _heads(name, path, call, suffix)
    kind: Kind = JOIN_KINDS.get(suffix.name, "function")
    if kind == "function":
        _require_function(name, suffix.name)
    site = Site(path, suffix.name, index, operand=suffix.operand, call=call)
    return Component(
        name,
        kind,
        path,
        call=call,
        part=suffix.name if kind == "function" else None,
        index=index,
        operand=suffix.operand,
        place=Place((site,), listed=False),
    )


def _heads(name: str, path: str, call: int | None, suffix: Suffix) -> Component:
    index = suffix.index
    if index is None or index.first is None or index.last is None:
        raise TargetError(
            f"'{name}': how many heads there are is known only from a forward; pass "
            "`inputs=`"
        )
    part = Slice("head", index.first, index.last)
    return Component(name, "head", path, call=call, slice=part)


def function_of_text(name: str) -> str:
    """The name under which a function is known, for any spelling of it.

    `relu_` is `relu`, `concat` is `cat`; what torch does not know stays as it is.
    """
    for space in _SPACES:
        for spelling in (name, f"__{name}__"):
            found = getattr(space, spelling, None)
            if callable(found) and (known := function_name(found)) is not None:
                return known
    return name


def _require_function(text: str, name: str) -> None:
    known = _functions()
    # Private functions of torch can be named, but are not suggested.
    if name in known or any(hasattr(space, name) for space in _SPACES):
        return
    kinds = ["skip", "branch", "gate", *JOIN_KINDS, "head", "channel"]
    near = difflib.get_close_matches(name, [*kinds, *known], n=3)
    hint = f"did you mean {' or '.join(f'`:{n}`' for n in near)}?" if near else ""
    raise TargetError(
        f"'{text}': there is no function {name!r} that a module's code could call "
        f"(names are those of torch, as `:relu`, `:softmax`, `:flatten`); "
        f"{hint or 'surgery.components(model, x) lists what is called'}"
    )


@cache
def _functions() -> tuple[str, ...]:
    """Names of everything in torch that a module's own code may call."""
    found = (
        function_name(value)
        for space in _SPACES
        for name in dir(space)
        if (not name.startswith("_") or name.endswith("__"))
        and callable(value := getattr(space, name, None))
        and not isinstance(value, type)
    )
    return tuple(dict.fromkeys(name for name in found if name))
