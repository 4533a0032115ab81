"""What to say when a target names nothing: the names that were near."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from surgery.anatomy._record import Record
from surgery.targets._names import Names
from surgery.targets._target import Path

_SHOWN = 8


def nothing_named(
    names: Names, text: str, prefix: str = "", record: Record | None = None
) -> str:
    """The message for a path, pattern or expression that matches no name."""
    kind = type(names.model).__name__
    said = [f"{prefix}{text!r} names nothing in this {kind}."]
    if text in dict(names.model.named_buffers()):
        owner = text.rpartition(".")[0]
        said.append("It is a buffer; modules and parameters can be targets.")
        said.append(f"Its module is {owner!r}." if owner else "")
        return " ".join(filter(None, said))
    known = [name for name in (*names.paths, *names.parameter_names) if name]
    if record is not None:
        known += [f"input:{field.name}" for field in record.inputs]
    near = difflib.get_close_matches(text, ["input", *known], n=3)
    inside = [name for name in known if name.endswith(f".{text}")]
    parent = _longest_prefix(names, text)
    if parent or not (near or inside):
        where = repr(parent) if parent else "The model"
        said.append(f"{where} has {summary(names.contents(parent))}.")
    if inside:
        said.append(f"There is {inside[0]!r}; write '**.{text}' for every such one.")
    if near:
        said.append(f"Did you mean {' or '.join(map(repr, near))}?")
    return " ".join(said)


def nearest_class(where: Path, matched: int, present: Collection[str]) -> str:
    """The message for a class filter that leaves none of the modules matched."""
    shown = sorted(set(present) - {"object", "Module"})
    near = difflib.get_close_matches(where.type or "", shown, n=3, cutoff=0.5)
    hint = (
        f"Did you mean {' or '.join(f'{where.pattern}[{name}]' for name in near)}?"
        if near
        else f"Classes there: {summary(shown)}."
    )
    found = "The module" if matched == 1 else f"None of the {matched} modules"
    verb = "is not" if matched == 1 else "is"
    return f"'{where}': {found} at {where.pattern!r} {verb} a {where.type}. {hint}"


def nearest_input(name: str, known: Sequence[str]) -> str:
    """The message for an input that the model was not given."""
    near = difflib.get_close_matches(name, known, n=3) or list(known)
    hint = " or ".join(f"'input:{other}'" for other in near)
    said = f"'input:{name}': no tensor called {name!r} went into the model. "
    return said + (f"Did you mean {hint}?" if known else "No tensor went in at all.")


def summary(contents: Sequence[str]) -> str:
    """Names in few words: `0..3` for numbered ones."""
    if not contents:
        return "nothing in it"
    if len(contents) > 1 and list(contents) == [str(i) for i in range(len(contents))]:
        return f"0..{len(contents) - 1}"
    more = ", ..." if len(contents) > _SHOWN else ""
    return ", ".join(contents[:_SHOWN]) + more


def _longest_prefix(names: Names, text: str) -> str:
    segments = text.split(".")
    for end in range(len(segments) - 1, 0, -1):
        prefix = ".".join(segments[:end])
        if prefix in names.paths:
            return names.paths[prefix]
    return ""
