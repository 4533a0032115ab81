"""Parts put together by hand are checked as texts are; canonical names round-trip."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surgery.anatomy import canonical
from surgery.errors import TargetError
from surgery.targets import Target, parse
from surgery.targets._target import (
    Index,
    Input,
    Path,
    Range,
    Regex,
    Suffix,
)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Index(1), "both ends, or neither"),
        (lambda: Index(2, 1), "write #1-2"),
        (lambda: Index(True, True), "numbers count from 0"),
        (lambda: Index(0, 10**9), "below 1e9"),
        (
            lambda: Path(3),  # type: ignore[arg-type]
            "a path is a str, got 3",
        ),
        (lambda: Path("input"), "written `re:input`"),
        (lambda: Path("a", ""), "is no class name"),
        (lambda: Regex("a@1"), r"write `a\\@1`"),
        (lambda: Regex("["), "not a regular expression"),
        (lambda: Range("a", "b:c"), "two plain paths, but one is 'b:c'"),
        (lambda: Input("x", "channel", Index()), "a name or a slice, not both"),
        (lambda: Input(None, "channel"), "an axis and an index"),
        (lambda: Suffix("add", None, -1), "numbers count from 0"),
        (
            lambda: Target("layer1"),  # type: ignore[arg-type]
            "most simply, `parse` a text",
        ),
        (
            lambda: Input(None, "channel", ""),  # type: ignore[arg-type]
            "a slice of an input is made of Index, got ''",
        ),
        (
            lambda: Suffix("skip", 0),  # type: ignore[arg-type]
            "the number in a suffix is made of Index, got 0",
        ),
        (
            lambda: Target(Path("a"), None, "skip"),  # type: ignore[arg-type]
            "a suffix is made of Suffix, got 'skip'",
        ),
        (lambda: Target(Path("")), "no path; write one"),
        (lambda: Target(Input(), 1), r"`@1` has no meaning there; remove it"),
        (lambda: Target(Range("a", "b"), 0), "`a..b` is not one module"),
        (lambda: Target(Regex("a"), None, Suffix("skip")), "suffixes follow a path"),
        (
            lambda: Target(Path("re"), None, Suffix("skip")),
            r"add its class: `re\[Linear\]:skip`",
        ),
    ],
)
def test_invalid_parts_are_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(TargetError, match=message):
        build()


def test_a_target_is_a_value() -> None:
    assert parse("a.*:skip") == parse("a.*:skip")
    assert len({parse("a"), parse("a"), parse("b")}) == 2


_NAME = st.text(min_size=1, max_size=8) | st.sampled_from(
    [
        "input",
        "a@1",
        "a\\@1",
        "a b",
        "a ",
        "a\x1c",
        " a",
        "x:y",
        "*",
        "re:x",
        "a\n",
        "[0]",
    ]
)


@settings(deadline=None)
@given(_NAME.filter(lambda path: all(path.split("."))), st.none() | st.integers(0, 9))
def test_a_canonical_name_matches_its_path_and_no_other(
    path: str, call: int | None
) -> None:
    text = canonical(path) + ("" if call is None else f"@{call}")
    target = parse(text)
    assert str(target) == text
    assert target.call == call
    if isinstance(target.where, Regex):
        assert target.where.compiled().fullmatch(path)
        assert not target.where.compiled().fullmatch(f"{path}0")
        assert not target.where.compiled().fullmatch(f"{path}@{call}")
    else:
        assert target.where == Path(path)
