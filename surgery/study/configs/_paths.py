"""Dotted paths into a config: read one, list all, and a copy with other values."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, MutableMapping
from types import SimpleNamespace
from typing import Any, cast

from surgery.errors import StudyError

_ABSENT = object()


def get(config: object, path: str) -> Any:
    """The value at a dotted path, such as `"optim.lr"` or `"layers.0.width"`.

    Raises:
        StudyError: There is nothing at that path; says the nearest ones.
    """
    value = config
    for name in path.split("."):
        value = _child(value, name)
        if value is _ABSENT:
            raise StudyError(missing(config, path))
    return value


def missing(config: object, path: str) -> str:
    """The message for a path that a config does not have."""
    known = list(leaves(config)) + list(_inner(config))
    near = difflib.get_close_matches(path, known, n=3, cutoff=0.5)
    last = path.rpartition(".")[2]
    near += [name for name in known if name.rpartition(".")[2] == last]
    said = f"the config has nothing at {path!r}"
    if near:
        shown = " or ".join(map(repr, dict.fromkeys(near)))
        return f"{said}; did you mean {shown}?"
    return f"{said}; it has {', '.join(known[:12]) or 'nothing in it'}"


def leaves(config: object) -> dict[str, Any]:
    """Every value that holds no others, by its path."""
    return dict(_walk(config, ""))


def with_values(config: object, values: Mapping[str, object]) -> Any:
    """A copy of the config with other values at some paths; the config stays as it is.

    Dataclasses are made anew by `dataclasses.replace`, so frozen ones do too.

    Raises:
        StudyError: There is nothing at one of the paths.
    """
    changed: Any = copy.deepcopy(config)
    for path, value in values.items():
        get(changed, path)
        changed = _replaced(changed, path.split("."), copy.deepcopy(value))
    return changed


def fields_of(value: Any) -> list[tuple[str, Any]] | None:
    """Names and values directly in a part of a config; `None` for a leaf."""
    if isinstance(value, Mapping):
        entries = cast("Mapping[object, Any]", value)
        return [(str(key), item) for key, item in entries.items()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return [(field.name, getattr(value, field.name)) for field in fields]
    if isinstance(value, Namespace | SimpleNamespace):
        return list(vars(value).items())
    if _is_omega(value):
        return [(str(key), cast("Any", value)[key]) for key in cast("Any", value)]
    if isinstance(value, list | tuple) or _is_omega_list(value):
        return [(str(index), item) for index, item in enumerate(cast("Any", value))]
    return None


def _is_omega(value: Any) -> Any:
    """Whether it is a node of OmegaConf, which is not imported for the question."""
    module = sys.modules.get("omegaconf")
    return module is not None and isinstance(value, module.DictConfig)


def _is_omega_list(value: Any) -> Any:
    module = sys.modules.get("omegaconf")
    return module is not None and isinstance(value, module.ListConfig)


def _child(value: object, name: str) -> Any:
    for key, item in fields_of(value) or ():
        if key == name:
            return item
    return _ABSENT


def _walk(value: object, prefix: str) -> Iterator[tuple[str, Any]]:
    fields = fields_of(value)
    if not fields and prefix:
        yield prefix, value
    for name, item in fields or ():
        yield from _walk(item, f"{prefix}.{name}" if prefix else name)


def _inner(config: object, prefix: str = "") -> Iterator[str]:
    for name, item in fields_of(config) or ():
        path = f"{prefix}.{name}" if prefix else name
        if fields_of(item):
            yield path
            yield from _inner(item, path)


def _replaced(value: Any, names: list[str], new: object) -> Any:
    """The value (already a copy) with `new` below it."""
    if not names:
        return new
    name, rest = names[0], names[1:]
    inner = _replaced(_child(value, name), rest, new)
    if _is_omega(value) or _is_omega_list(value):
        value[name if _is_omega(value) else int(name)] = inner
        return value
    if isinstance(value, Mapping):
        entries = cast("Mapping[object, Any]", value)
        if isinstance(entries, MutableMapping):
            entries[next(key for key in entries if str(key) == name)] = inner
            return entries
        return {k: inner if str(k) == name else v for k, v in entries.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **{name: inner})
    if isinstance(value, Namespace | SimpleNamespace):
        setattr(value, name, inner)
        return value
    if isinstance(value, list):
        value[int(name)] = inner
        return value
    items: list[Any] = list(cast("tuple[Any, ...]", value))
    items[int(name)] = inner
    make: Any = getattr(type(value), "_make", tuple)  # named tuples keep their class
    return make(items)
