"""Spelling: the target that names a path, and what a path may hold unquoted."""

from __future__ import annotations

import re
from typing import Final

SPECIAL: Final = ":@[]*"


def canonical(path: str) -> str:
    """The target that names exactly the module or parameter at `path`.

    Names may hold characters of the target language (keys of a `ModuleDict`); a
    regular expression then names them.
    """
    if is_plain(path) and path != "input":
        return path
    text = re.escape(path)
    head, call = split_call(text)
    if call is not None:
        text = f"{head}\\@{call}"
    if text[-1:].isspace() and not ends_escaped(text[:-1]):
        text = f"{text[:-1]}\\{text[-1]}"
    return f"re:{text}"


def owner(path: str, kind: str) -> str:
    """What stands before a suffix: `re:` would begin a regular expression.

    Args:
        path: A plain path.
        kind: The class name of the module there.
    """
    return f"re[{kind}]" if path == "re" else path


def is_plain(path: str) -> bool:
    """Whether a path stands for itself: no empty segment, nothing of the grammar."""
    return all(path.split(".")) and not any(c in SPECIAL or c.isspace() for c in path)


def split_call(text: str) -> tuple[str, str | None]:
    r"""`a@1` -> `a`, `1`; without an unescaped `@` and digits at the end, no call."""
    head, at, call = text.rpartition("@")
    if at and call.isascii() and call.isdecimal() and not ends_escaped(head):
        return head, call
    return text, None


def ends_escaped(before: str) -> bool:
    """Whether a backslash at the end escapes the character after it."""
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1
