"""A config as plain JSON: what enters a trial's identity, and what is recorded."""

from __future__ import annotations

import dataclasses
import enum
import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import Any

from surgery.report import JSONValue, plain_json
from surgery.study.configs._paths import fields_of, leaves

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def plain(config: object) -> JSONValue:
    """The config as JSON, the same for equal configs in every process."""
    if isinstance(config, Mapping) or _has_names(config):
        return {name: plain(item) for name, item in fields_of(config) or ()}
    if isinstance(config, enum.Enum):
        return f"{type(config).__name__}.{config.name}"
    if isinstance(config, set | frozenset):
        return sorted((plain(item) for item in config), key=repr)
    fields = fields_of(config)
    if fields is not None:
        return [plain(item) for _, item in fields]
    if config is None or isinstance(config, bool | int | float | str):
        return plain_json(config)
    if isinstance(config, type) or callable(config):
        return f"{config.__module__}.{getattr(config, '__qualname__', config)}"
    return _ADDRESS.sub("", repr(config))


def without(config: object, ignored: Sequence[str]) -> JSONValue:
    """The plain config less the paths that match one of the patterns.

    Fields of dataclasses with `metadata={"identity": False}` are left out too.
    """
    found = leaves(config)
    unmarked = set(_unmarked(config, ""))
    return {
        path: plain(value)
        for path, value in sorted(found.items())
        if not any(fnmatch.fnmatchcase(path, pattern) for pattern in ignored)
        and not any(path == name or path.startswith(f"{name}.") for name in unmarked)
    }


def difference(before: object, after: object) -> dict[str, tuple[Any, Any]]:
    """Paths whose values differ, each with both; `None` where there is none."""
    old, new = leaves(before), leaves(after)
    return {
        path: (old.get(path), new.get(path))
        for path in dict.fromkeys([*old, *new])
        if plain(old.get(path)) != plain(new.get(path))
        or (path in old) != (path in new)
    }


def _has_names(value: object) -> bool:
    fields = fields_of(value)
    is_sequence = isinstance(value, list | tuple)
    return fields is not None and not is_sequence and not hasattr(value, "append")


def _unmarked(config: object, prefix: str) -> list[str]:
    names: list[str] = []
    marks: dict[str, bool] = {}
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        fields = dataclasses.fields(config)
        marks = {f.name: bool(f.metadata.get("identity", True)) for f in fields}
    for name, item in fields_of(config) or ():
        path = f"{prefix}.{name}" if prefix else name
        names += [path] if not marks.get(name, True) else _unmarked(item, path)
    return names
