"""Text to Target. Knows the grammar only, no model.

    target := "input" [":" NAME | ":" AXIS "#" INDEX]
            | "re:" REGEX ["@" NUMBER]
            | PATH ".." PATH
            | PATTERN ["[" CLASS "]"] ["@" NUMBER] [":" suffix]
    suffix := NAME ["#" INDEX] [".arg" NUMBER]
    INDEX  := NUMBER | NUMBER "-" NUMBER | "*"

An empty PATTERN before a suffix is the whole model.
"""

from __future__ import annotations

from surgery.anatomy._spelling import canonical, split_call
from surgery.errors import TargetError
from surgery.targets._target import (
    Index,
    Input,
    Path,
    Range,
    Regex,
    Suffix,
    Target,
)


def parse(text: str) -> Target:
    """Read a target, or say in a `TargetError` what to write instead."""
    text = _checked(text)
    try:
        return _target(text)
    except TargetError as error:
        raise TargetError(f"{text!r} is not a target: {error}") from None


def _checked(text: object) -> str:
    if not isinstance(text, str):
        raise TargetError(
            f"a target is a str such as 'layer1.0', got {type(text).__name__}"
        )
    return text


def _target(text: str) -> Target:
    if not text:
        raise TargetError(
            "it is empty; write a path such as 'layer1.0', or '**' for all modules"
        )
    if text.startswith("re:"):
        regex, call = split_call(text.removeprefix("re:"))
        return Target(Regex(regex), None if call is None else _number(call))
    if any(character.isspace() for character in text):
        bare = "".join(text.split()) or "layer1.0"
        raise TargetError(
            f"it has white space; write {bare!r}, or if a module's name has it, "
            f"`{canonical(text.strip() or ' ')}`"
        )
    if text == "input":
        return Target(Input())
    if text.startswith("input:"):
        return Target(_input(text.removeprefix("input:")))
    head, colon, tail = text.partition(":")
    suffix = _suffix(tail) if colon else None
    if ".." in head:
        first, _, last = head.partition("..")
        return Target(Range(first, last), suffix=suffix)
    head, at, call = head.partition("@")
    return Target(_path(head), _number(call) if at else None, suffix)


def _path(text: str) -> Path:
    pattern, bracket, rest = text.partition("[")
    if not bracket:
        return Path(pattern)
    if not rest.endswith("]"):
        raise TargetError(
            "the class filter comes right after the path and ends in `]`; "
            "write it like `**[Conv2d]` or `**[Conv2d]@0:channel#3`"
        )
    return Path(pattern, rest.removesuffix("]"))


def _input(text: str) -> Input:
    name, sharp, index = text.partition("#")
    return Input(axis=name, index=_index(index)) if sharp else Input(name)


def _suffix(text: str) -> Suffix:
    text, dot, operand = text.partition(".")
    name, sharp, index = text.partition("#")
    if dot and not operand.startswith("arg"):
        raise TargetError(
            f"'.{operand}' does not follow a suffix; an operand is `.arg0`"
        )
    return Suffix(
        name,
        _index(index) if sharp else None,
        _number(operand.removeprefix("arg")) if dot else None,
    )


def _index(text: str) -> Index:
    if text == "*":
        return Index()
    first, dash, last = text.partition("-")
    return Index(_number(first), _number(last if dash else first))


def _number(text: str) -> int:
    # Not isdigit(): that is true of "²", which int() refuses; nor any length of
    # text: int() refuses thousands of digits.
    if not (text.isascii() and text.isdecimal() and len(text.lstrip("0")) <= 9):
        raise TargetError(f"a number from 0 to 999999999 is due, got {text!r}")
    return int(text.lstrip("0") or "0")
