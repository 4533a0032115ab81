"""Text to Target and back: round trips, totality, what each wrong text is told."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from surgery.errors import TargetError
from surgery.targets import Target, parse
from surgery.targets._target import (
    AXES,
    JOINS,
    RESIDUAL,
    SLICED,
    Index,
    Input,
    Path,
    Range,
    Regex,
    Suffix,
)

NUMBERS = st.integers(0, 10**9 - 1)
IDENTIFIERS = st.from_regex(r"[a-zA-Z_][a-zA-Z_0-9]{0,6}", fullmatch=True)
_CHARACTERS = st.characters(exclude_characters=":@[]*.", exclude_categories=["Cs"])
SEGMENTS = st.text(_CHARACTERS, min_size=1, max_size=5).filter(
    lambda text: not any(c.isspace() for c in text)
)
PLAIN = st.lists(SEGMENTS, min_size=1, max_size=4).map(".".join)
PATTERNS = st.lists(
    st.one_of(
        SEGMENTS,
        st.just("**"),
        st.lists(SEGMENTS, min_size=2, max_size=3).map("*".join),
        SEGMENTS.map(lambda s: f"*{s}"),
    ),
    min_size=1,
    max_size=4,
).map(".".join)


@st.composite
def _ranges(draw: st.DrawFn) -> Index:
    first = draw(NUMBERS)
    return Index(first, draw(st.integers(first, 10**9 - 1)))


SINGLE = NUMBERS.map(lambda k: Index(k, k))
INDICES = st.one_of(SINGLE, _ranges(), st.just(Index()))
SUFFIXES = st.one_of(
    st.builds(
        Suffix,
        IDENTIFIERS.filter(lambda name: name not in SLICED) | st.sampled_from(RESIDUAL),
        st.none() | SINGLE,
    ),
    st.builds(Suffix, st.sampled_from(JOINS), st.none() | SINGLE, st.none() | NUMBERS),
    st.builds(Suffix, st.sampled_from(SLICED), INDICES),
)
REGEXES = st.one_of(
    st.text(max_size=8).map(lambda text: re.escape(text) + "x"),
    st.sampled_from([r"layer[12]\..*conv\d", r"(?:a|b)+", "a@b", r"a\@1", r"a\ ", "."]),
)
PATHS = st.builds(
    Path, PATTERNS.filter(lambda p: p != "input"), st.none() | IDENTIFIERS
)
TARGETS = st.one_of(
    st.builds(
        Target,
        PATHS.filter(lambda p: p != Path("re")),
        st.none() | NUMBERS,
        st.none() | SUFFIXES,
    ),
    st.builds(Target, st.just(Path("")), st.none(), SUFFIXES),
    st.builds(Target, st.builds(Regex, REGEXES), st.none() | NUMBERS),
    st.builds(Target, st.builds(Range, PLAIN, PLAIN)),
    st.builds(Target, st.just(Input())),
    st.builds(
        Target, st.builds(Input, st.from_regex(r"[a-z_.\[\]]{1,8}", fullmatch=True))
    ),
    st.builds(Target, st.builds(Input, st.none(), st.sampled_from(AXES), INDICES)),
)

ALPHABET = st.sampled_from(
    [*"ab.:@[]*#-0123 \\()\n²", "**", "..", "re:", "input", "input:", ":skip",
     "channel", ":add#0", ".arg1", "head", "[Conv2d]", "layer1", "@1", "#*", "#0-3"]
)  # fmt: skip


@settings(deadline=None)
@given(TARGETS)
def test_a_printed_target_parses_to_itself(target: Target) -> None:
    assert parse(str(target)) == target


@settings(max_examples=500, deadline=None)
@given(st.text() | st.lists(ALPHABET, max_size=8).map("".join))
@example("a@" + "9" * 5000)
@example("a:head#" + "0" * 5000)
@example("re:a{99999999999}")
@example("re:a{" + "9" * 5000 + "}")
@example("re:[[a]")
@example("re:" + "(" * 5000 + ")" * 5000)
@example("re:(?a)(?u)")
@example("re:\\")
@example("a@²")
@example("\ud800")
def test_any_text_is_a_target_or_a_target_error(text: str) -> None:
    try:
        target = parse(text)
    except TargetError as error:
        assert repr(text) in str(error)
    else:
        assert parse(str(target)) == target


_PARTS = st.text(max_size=3) | ALPHABET | st.none() | st.integers(-2, 5) | st.booleans()


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from([Path, Regex, Range, Input]),
    st.lists(_PARTS, min_size=1, max_size=3),
    _PARTS,
    st.none() | st.tuples(_PARTS, _PARTS | SINGLE, _PARTS),
)
def test_parts_put_together_by_hand_are_a_target_that_prints_or_an_error(
    kind: type, parts: list[object], call: object, suffix: tuple[object, ...] | None
) -> None:
    try:
        inner = None if suffix is None else Suffix(*suffix)  # type: ignore[arg-type]
        target = Target(kind(*parts), call, inner)  # type: ignore[arg-type]
    except (TargetError, TypeError) as error:
        if isinstance(error, TypeError):  # too many or too few fields, nothing else
            assert "argument" in str(error)
        return
    assert parse(str(target)) == target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("layer1.0", Target(Path("layer1.0"))),
        ("layers.*.blocks.*.attn", Target(Path("layers.*.blocks.*.attn"))),
        ("a*b*.c", Target(Path("a*b*.c"))),
        ("layers.**", Target(Path("layers.**"))),
        ("**[Conv2d]", Target(Path("**", "Conv2d"))),
        (r"re:layer[12]\..*conv\d", Target(Regex(r"layer[12]\..*conv\d"))),
        ("re:(?:a|b):skip[x]", Target(Regex("(?:a|b):skip[x]"))),
        ("re:a@1", Target(Regex("a"), 1)),
        (r"re:a\@1", Target(Regex(r"a\@1"))),
        (r"re:a\\@1", Target(Regex(r"a\\"), 1)),
        ("layer1.0:skip", Target(Path("layer1.0"), None, Suffix("skip"))),
        (
            "blocks.3:skip#0",
            Target(Path("blocks.3"), None, Suffix("skip", Index(0, 0))),
        ),
        ("b:branch#1", Target(Path("b"), None, Suffix("branch", Index(1, 1)))),
        ("b:gate", Target(Path("b"), None, Suffix("gate"))),
        ("b:add#2", Target(Path("b"), None, Suffix("add", Index(2, 2)))),
        ("b:add#2.arg0", Target(Path("b"), None, Suffix("add", Index(2, 2), 0))),
        ("b:cat#0.arg2", Target(Path("b"), None, Suffix("cat", Index(0, 0), 2))),
        ("b:head#5", Target(Path("b"), None, Suffix("head", Index(5, 5)))),
        ("b:head#0-3", Target(Path("b"), None, Suffix("head", Index(0, 3)))),
        ("b:head#*", Target(Path("b"), None, Suffix("head", Index()))),
        ("b:channel#0-15", Target(Path("b"), None, Suffix("channel", Index(0, 15)))),
        ("b:relu#0", Target(Path("b"), None, Suffix("relu", Index(0, 0)))),
        (":add#0", Target(Path(""), None, Suffix("add", Index(0, 0)))),
        ("layer1.0.conv1.weight", Target(Path("layer1.0.conv1.weight"))),
        ("layer1.0.act@1", Target(Path("layer1.0.act"), 1)),
        ("layer2.1..layer3.0", Target(Range("layer2.1", "layer3.0"))),
        ("input..b", Target(Range("input", "b"))),
        ("input.proj", Target(Path("input.proj"))),
        ("input", Target(Input())),
        ("input:pixel_values", Target(Input("pixel_values"))),
        ("input:token", Target(Input("token"))),
        ("input:channel#0", Target(Input(None, "channel", Index(0, 0)))),
        ("input:feature#*", Target(Input(None, "feature", Index()))),
        ("input:token#0-2", Target(Input(None, "token", Index(0, 2)))),
        ("layer1.*:skip", Target(Path("layer1.*"), None, Suffix("skip"))),
        ("**[Block]:branch", Target(Path("**", "Block"), None, Suffix("branch"))),
        ("**[Conv2d]@0", Target(Path("**", "Conv2d"), 0)),
        ("a[B]@1:channel#3", Target(Path("a", "B"), 1, Suffix("channel", Index(3, 3)))),
        ("re", Target(Path("re"))),
    ],
)
def test_every_form_of_the_grammar(text: str, target: Target) -> None:
    assert parse(text) == target
    assert str(target) == text


def test_numbers_print_without_what_they_do_not_need() -> None:
    assert str(parse("a@007")) == "a@7"
    assert str(parse("a:channel#3-3")) == "a:channel#3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"^'' is not a target: it is empty; write a path such as 'layer1.0'"),
        (" ", "white space"),
        (" layer1", "white space; write 'layer1'"),
        ("layer1\n", "white space; write 'layer1'"),
        ("my block", r"if a module's name has it, `re:my\\ block`"),
        ("re:", "no regular expression after `re:`"),
        ("re:(", "not a regular expression: missing \\)"),
        ("re:a ", "white space at the end"),
        ("a..", "ends of a range are two plain paths, but one is ''"),
        ("a.*..b", r"but one is 'a\.\*'; write it like `layer2.1..layer3.0`"),
        ("a..b:skip", "`:skip` cannot follow `a..b`"),
        ("a..b@1", "but one is 'b@1'"),
        (".a", "remove the dot that is too much"),
        ("a.", "remove the dot that is too much"),
        (".", "remove the dot that is too much"),
        ("a**", r"'a\*\*' has it inside one; write `\*` there"),
        ("***", r"`\*\*` stands for whole segments"),
        ("a]", r"'\]' does not belong in a path; .* write `re:a\\]`"),
        ("a[Conv2d", r"ends in `\]`"),
        ("a@0[Conv2d]", r"a number from 0 to 999999999 is due, got '0\[Conv2d\]'"),
        ("a[nn.Conv2d]", r"write the bare name, as in `\*\*\[Conv2d\]`"),
        ("a[]", r"\[\] is no class name"),
        ("[Conv2d]", r"for the whole model write `\*\*\[Conv2d\]`"),
        ("a@", "a number from 0 to 999999999 is due, got ''"),
        ("a@-1", "got '-1'"),
        ("a@x", "got 'x'"),
        ("@1", "no path; write one, such as `layer1.0`"),
        ("@1:skip", "no path"),
        ("a:", "'' is no suffix; those are `:skip :branch"),
        ("a:skip#0-2", "takes one number; write `:skip#0`, or `:skip` for all"),
        ("a:add#*", "takes one number"),
        ("a:skip.arg0", "only the joins add, mul, cat and stack have operands"),
        ("a:add#0.left", "'.left' does not follow a suffix; an operand is `.arg0`"),
        ("a:head", "write `:head#0`, `:head#0-3` or `:head#\\*`"),
        ("a:channel#3-1", "runs backwards; write #1-3"),
        ("a:channel#1-", "got ''"),
        ("a:re lu", "white space"),
        ("input@1", "a module of that name is written `re:input`"),
        ("input[Linear]", "written `re:input`"),
        ("input:", "'' is no name of an input"),
        ("input:row#0", "by channel, feature or token, not by 'row'"),
        ("input:x:y", "'x:y' is no name of an input"),
        ("re[A]:", "is no suffix"),
    ],
)
def test_a_wrong_text_is_told_what_to_write(text: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        parse(text)


@pytest.mark.parametrize("value", [None, 3, b"layer1", ["layer1"]])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(TargetError, match=r"a target is a str such as 'layer1.0', got"):
        parse(value)  # type: ignore[arg-type]
