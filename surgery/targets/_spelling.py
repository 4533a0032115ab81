"""Checks of what targets are made of, each with the words that mend it."""

from __future__ import annotations

from typing import Final

from surgery.anatomy._spelling import SPECIAL, canonical
from surgery.errors import TargetError

_LIMIT: Final = 10**9


def check_number(value: object) -> None:
    """Refuse what is not a count from 0."""
    if type(value) is not int or not 0 <= value < _LIMIT:
        raise TargetError(f"numbers count from 0 (and stay below 1e9), got {value!r}")


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
