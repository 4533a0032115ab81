"""Target: which components a text names, as frozen parts that print as that text.

A target knows no model; `resolve` finds its components in one.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Final

from surgery.anatomy._spelling import ends_escaped, is_plain, split_call
from surgery.errors import TargetError
from surgery.targets._spelling import (
    check_is,
    check_number,
    check_segments,
    check_text,
)

AXES: Final = ("channel", "feature", "token")
RESIDUAL: Final = ("skip", "branch", "gate")
JOINS: Final = ("add", "mul", "cat", "stack")
SLICED: Final = ("head", "channel")


@dataclass(frozen=True)
class Index:
    """`first` to `last` inclusive; both `None` is `*`: each one on its own."""

    first: int | None = None
    last: int | None = None

    def __post_init__(self) -> None:
        if self.first is None and self.last is None:
            return
        if self.first is None or self.last is None:
            raise TargetError("an index has both ends, or neither (that is `*`)")
        check_number(self.first)
        check_number(self.last)
        if self.first > self.last:
            raise TargetError(
                f"the range #{self.first}-{self.last} runs backwards; "
                f"write #{self.last}-{self.first}"
            )

    def __str__(self) -> str:
        if self.first is None:
            return "*"
        if self.first == self.last:
            return str(self.first)
        return f"{self.first}-{self.last}"


@dataclass(frozen=True)
class Path:
    """Modules (or else parameters) by dotted path, with `*`, `**`, class filter.

    Attributes:
        pattern: The path; `""` is the whole model, for a suffix to act on.
        type: Name of a class that the modules must be instances of.
    """

    pattern: str
    type: str | None = None

    def __post_init__(self) -> None:
        check_text(self.pattern, "a path")
        if self.pattern == "input":
            raise TargetError(
                "`input` alone is the model's input; "
                "a module of that name is written `re:input`"
            )
        if self.pattern:
            check_segments(self.pattern)
        if self.type is None:
            return
        check_text(self.type, "a class filter")
        if not self.type.isidentifier():
            raise TargetError(
                f"[{self.type}] is no class name; write the bare name, as in "
                "`**[Conv2d]`"
            )
        if not self.pattern:
            raise TargetError(
                f"[{self.type}] needs a path before it; "
                f"for the whole model write `**[{self.type}]`"
            )

    def __str__(self) -> str:
        return self.pattern if self.type is None else f"{self.pattern}[{self.type}]"


@dataclass(frozen=True)
class Regex:
    r"""Modules (or else parameters) whose whole dotted path matches.

    A final `@k` is a call-site, as in any target; `\@` is the character.
    """

    regex: str

    def __post_init__(self) -> None:
        check_text(self.regex, "a regular expression")
        if not self.regex:
            raise TargetError("no regular expression after `re:`; try `re:.*conv\\d`")
        head, call = split_call(self.regex)
        if call is not None:
            raise TargetError(
                f"`@{call}` at the end of a regular expression is a call-site; "
                f"for the character write `{head}\\@{call}`"
            )
        if self.regex[-1].isspace() and not ends_escaped(self.regex[:-1]):
            raise TargetError(
                "white space at the end; remove it, or put a backslash before it"
            )
        self.compiled()

    def compiled(self) -> re.Pattern[str]:
        """The compiled expression; an invalid one is a `TargetError`."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of "possible nested set"
                return re.compile(self.regex)
        except (re.error, ValueError, OverflowError, RecursionError) as error:
            raise TargetError(f"not a regular expression: {error}") from None

    def __str__(self) -> str:
        return f"re:{self.regex}"


@dataclass(frozen=True)
class Range:
    """Everything from one module to another, inclusive, as one group."""

    first: str
    last: str

    def __post_init__(self) -> None:
        for end in (self.first, self.last):
            check_text(end, "an end of a range")
            if not is_plain(end):
                raise TargetError(
                    f"the ends of a range are two plain paths, but one is {end!r}; "
                    "write it like `layer2.1..layer3.0`"
                )

    def __str__(self) -> str:
        return f"{self.first}..{self.last}"


@dataclass(frozen=True)
class Input:
    """What goes into the model: all of it, one argument, or a slice of the first."""

    name: str | None = None
    axis: str | None = None
    index: Index | None = None

    def __post_init__(self) -> None:
        if self.name is not None:
            check_text(self.name, "the name of an input")
            if self.axis is not None or self.index is not None:
                raise TargetError("an input has a name or a slice, not both")
            if not self.name or any(c in ":@#*" or c.isspace() for c in self.name):
                raise TargetError(
                    f"{self.name!r} is no name of an input; write `input:pixel_values`"
                )
        elif (self.axis is None) != (self.index is None):
            raise TargetError("a slice of an input has an axis and an index")
        elif self.index is not None:
            check_is(self.index, Index, "a slice of an input")
        if self.axis is not None and self.axis not in AXES:
            raise TargetError(
                f"inputs are sliced by channel, feature or token, not by "
                f"{self.axis!r}; write `input:channel#0`"
            )

    def __str__(self) -> str:
        if self.name is not None:
            return f"input:{self.name}"
        return "input" if self.axis is None else f"input:{self.axis}#{self.index}"


@dataclass(frozen=True)
class Suffix:
    """What is meant inside a module: a join's operand, a head, a channel, an op.

    Attributes:
        name: `skip`, `branch`, `gate`, `add`, `mul`, `cat`, `stack`, `head`,
            `channel`, or the name of any function that the module's code calls.
        index: Which one, in order of execution (`None`: all of them); for heads
            and channels, which range.
        operand: Which operand of a join.
    """

    name: str
    index: Index | None = None
    operand: int | None = None

    def __post_init__(self) -> None:
        check_text(self.name, "a suffix")
        if not self.name.isidentifier():
            raise TargetError(
                f"{self.name!r} is no suffix; those are `:skip :branch :gate :add#0 "
                ":mul#0 :cat#0.arg1 :stack#0 :head#5 :channel#0-15`, or a function's "
                "name as in `:relu#0`"
            )
        if self.index is not None:
            check_is(self.index, Index, "the number in a suffix")
        if self.name in SLICED:
            if self.index is None:
                raise TargetError(
                    f"`:{self.name}` needs to know which; write `:{self.name}#0`, "
                    f"`:{self.name}#0-3` or `:{self.name}#*`"
                )
        elif self.index is not None and (
            self.index.first is None or self.index.first != self.index.last
        ):
            raise TargetError(
                f"`:{self.name}#{self.index}` takes one number; "
                f"write `:{self.name}#0`, or `:{self.name}` for all of them"
            )
        if self.operand is not None:
            check_number(self.operand)
            if self.name not in JOINS:
                raise TargetError(
                    f"`:{self.name}` has no `.arg{self.operand}`; only the joins "
                    "add, mul, cat and stack have operands"
                )

    def __str__(self) -> str:
        index = "" if self.index is None else f"#{self.index}"
        operand = "" if self.operand is None else f".arg{self.operand}"
        return f":{self.name}{index}{operand}"


@dataclass(frozen=True)
class Target:
    """A parsed target; `parse(str(target)) == target`.

    Attributes:
        where: What the text begins with.
        call: For one call of a module, its index within a forward.
        suffix: What is meant inside the module.
    """

    where: Path | Regex | Range | Input
    call: int | None = None
    suffix: Suffix | None = None

    def __post_init__(self) -> None:
        _check_where(self.where)
        if self.call is not None:
            check_number(self.call)
            if isinstance(self.where, Range | Input):
                raise TargetError(
                    f"`{self.where}` is not one module, so `@{self.call}` has no "
                    "meaning there; remove it"
                )
        if self.suffix is not None:
            check_is(self.suffix, Suffix, "a suffix")
        if self.suffix is not None and not isinstance(self.where, Path):
            raise TargetError(
                f"`{self.suffix}` cannot follow `{self.where}`; suffixes follow a "
                "path, as in `layer1.*:skip`"
            )
        if isinstance(self.where, Path) and not self.where.pattern:
            if self.suffix is None or self.call is not None:
                raise TargetError("no path; write one, such as `layer1.0`")
        if self.where == Path("re") and self.suffix and self.call is None:
            raise TargetError(
                "`re:` begins a regular expression; to put a suffix on a module "
                f"called `re`, add its class: `re[Linear]{self.suffix}`"
            )

    def __str__(self) -> str:
        call = "" if self.call is None else f"@{self.call}"
        suffix = "" if self.suffix is None else str(self.suffix)
        return f"{self.where}{call}{suffix}"


def _check_where(value: object) -> None:
    if not isinstance(value, Path | Regex | Range | Input):
        raise TargetError(
            f"a Target begins with a Path, Regex, Range or Input, got {value!r}; "
            "most simply, `parse` a text"
        )
