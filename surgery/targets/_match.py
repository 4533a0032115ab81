"""Which names of a model a path, a regular expression or a range stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping

from surgery.errors import TargetError
from surgery.targets._names import Names
from surgery.targets._nearest import nearest_class, nothing_named
from surgery.targets._target import Path, Range, Regex


def matching_modules(names: Names, where: Path | Regex) -> list[str]:
    """Canonical paths of the modules that match, never the whole model."""
    if where == Path(""):
        return [""]
    matched = [path for path in _matching(names.paths, where) if path]
    if not isinstance(where, Path) or where.type is None or not matched:
        return names.in_order(matched)
    kept = [path for path in matched if where.type in classes(names, path)]
    if not kept:
        present = {name for path in matched for name in classes(names, path)}
        raise TargetError(nearest_class(where, len(set(matched)), present))
    return names.in_order(kept)


def matching_parameters(names: Names, where: Path | Regex) -> list[str]:
    """Canonical names of the parameters that match; a class filter takes none."""
    if isinstance(where, Path) and where.type is not None:
        return []
    matched = set(_matching(names.parameter_names, where))
    return [name for name in names.parameters if name in matched]


def modules_between(names: Names, where: Range) -> list[str]:
    """Canonical paths of the largest modules wholly inside a range."""
    first, last = (_end(names, where, end) for end in (where.first, where.last))
    for outer, inner in ((first, last), (last, first)):
        if inner.startswith(f"{outer}."):
            raise TargetError(
                f"'{where}': {outer!r} contains {inner!r}, so nothing lies between "
                f"them; write {outer!r} for all of it"
            )
    if names.position(first) > names.position(last):
        raise TargetError(
            f"'{where}': {where.last!r} comes first in the model; swap them: "
            f"'{where.last}..{where.first}'"
        )
    paths = list(names.modules)
    within = paths[names.position(first) : names.position(last) + 1]
    # An ancestor of `first` stands before it, so only those of `last` are here.
    whole = [path for path in within if not last.startswith(f"{path}.")]
    kept: list[str] = []
    for path in whole:  # in pre-order, a module's ancestors come just before it
        if not kept or not path.startswith(f"{kept[-1]}."):
            kept.append(path)
    return kept


def classes(names: Names, path: str) -> list[str]:
    """Names of all classes that a module is an instance of."""
    return [base.__name__ for base in type(names.modules[path]).__mro__]


def _end(names: Names, where: Range, end: str) -> str:
    if end in names.parameter_names:
        raise TargetError(
            f"'{where}': {end!r} is a parameter; a range runs between two modules"
        )
    if end not in names.paths:
        raise TargetError(nothing_named(names, end, f"'{where}': "))
    return names.paths[end]


def _matching(canonical: Mapping[str, str], where: Path | Regex) -> list[str]:
    if isinstance(where, Regex):
        regex = where.compiled()
        return [to for name, to in canonical.items() if regex.fullmatch(name)]
    if "*" not in where.pattern:
        name = where.pattern
        return [canonical[name]] if name in canonical else []
    glob = _glob(where.pattern)
    return [to for name, to in canonical.items() if glob.fullmatch(f"{name}.")]


def _glob(pattern: str) -> re.Pattern[str]:
    """Matches dotted names that have a dot after every segment, the last included."""
    segments = pattern.split(".")
    parts: list[str] = []
    for i, segment in enumerate(segments):
        if segment != "**":
            inner = "[^.]*".join(map(re.escape, segment.split("*")))
            parts.append(f"{inner}\\.")
        elif segments[i - 1 : i] != ["**"]:  # a row of them is one: no backtracking
            parts.append(r"(?:[^.]+\.)*")
    return re.compile("".join(parts))
