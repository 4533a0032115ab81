"""How names are spelled in targets: what stands for itself, what must be quoted."""

from __future__ import annotations

import re
from typing import Final

from surgery.errors import TargetError

SPECIAL: Final = ":@[]*"
_LIMIT: Final = 10**9


def check_number(value: object) -> None:
    """Refuse what is not a count from 0."""
    if type(value) is not int or not 0 <= value < _LIMIT:
        raise TargetError(f"numbers count from 0 (and stay below 1e9), got {value!r}")


def is_plain(path: str) -> bool:
    """Whether a path stands for itself: no empty segment, nothing of the grammar."""
    return all(path.split(".")) and not any(c in SPECIAL or c.isspace() for c in path)


def canonical(path: str) -> str:
    """The target that names exactly the module or parameter at `path`."""
    if is_plain(path) and path != "input":
        return path
    text = re.escape(path)
    head, call = split_call(text)
    if call is not None:
        text = f"{head}\\@{call}"
    if text[-1].isspace() and not ends_escaped(text[:-1]):
        text = f"{text[:-1]}\\{text[-1]}"
    return f"re:{text}"


def split_call(text: str) -> tuple[str, str | None]:
    r"""`a@1` -> `a`, `1`; without an unescaped `@` and digits at the end, no call."""
    head, at, call = text.rpartition("@")
    if at and call.isascii() and call.isdecimal() and not ends_escaped(head):
        return head, call
    return text, None


def ends_escaped(before: str) -> bool:
    """Whether a backslash at the end escapes the character after it."""
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def check_is(value: object, kind: type, what: str) -> None:
    """Refuse what is not of a type, calling it `what`."""
    if not isinstance(value, kind):
        raise TargetError(
            f"{what} is made of {kind.__name__}, got {value!r}; most simply, `parse` a "
            "text"
        )


def check_text(value: object, what: str) -> None:
    """Refuse what is no `str`, calling it `what`."""
    if not isinstance(value, str):
        raise TargetError(f"{what} is a str, got {value!r}")


def check_segments(pattern: str) -> None:
    """Refuse a path or pattern that is not made of names, `*` and `**`."""
    for segment in pattern.split("."):
        if not segment:
            raise TargetError(
                "a path has names between its dots; remove the dot that is too much"
            )
        if "**" in segment and segment != "**":
            raise TargetError(
                f"`**` stands for whole segments, but {segment!r} has it inside one; "
                "write `*` there"
            )
        for character in segment:
            if character.isspace():
                raise TargetError("white space in a path; remove it")
            if character in SPECIAL and character != "*":
                raise TargetError(
                    f"{character!r} does not belong in a path; if it is part of a "
                    f"module's name, write `{canonical(pattern)}`"
                )
