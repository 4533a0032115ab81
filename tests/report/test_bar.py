"""Bars drawn with characters."""

import math

from hypothesis import given
from hypothesis import strategies as st

from surgery.report import draw_bars

ends = st.floats(allow_nan=True, allow_infinity=True, width=32)


def test_bars_show_certain_likely_and_possible_parts() -> None:
    assert draw_bars(
        [
            (-6.0, -8.0, -4.0),
            (-1.0, -2.0, 1.0),
            (2.0, 1.0, 2.0),
            (0.0, 0.0, 0.0),
            (math.nan, math.nan, math.nan),
        ],
        11,
    ) == [
        "░░▓▓████│  ",
        "      ░▓│░ ",
        "        │█▓",
        "        │  ",
        "        │  ",
    ]


def test_without_an_interval_nothing_is_certain() -> None:
    assert draw_bars([(4.0, math.nan, math.nan)], 5) == ["│▓▓▓▓"]


def test_bars_of_one_sign_take_the_whole_width() -> None:
    assert draw_bars([(-4.0, -4.0, -4.0), (-2.0, -2.0, -2.0)], 5) == ["████│", "  ██│"]


def test_all_zero_draws_only_the_line() -> None:
    assert draw_bars([(0.0, 0.0, 0.0)], 4) == ["│   "]
    assert draw_bars([], 4) == []


@given(
    st.lists(st.tuples(ends, ends, ends), max_size=5),
    st.integers(min_value=1, max_value=40),
)
def test_all_bars_have_the_width_and_zero_in_one_place(
    triples: list[tuple[float, float, float]], width: int
) -> None:
    bars = draw_bars(triples, width)
    assert len(bars) == len(triples)
    assert {len(bar) for bar in bars} <= {width}
    assert len({bar.index("│") for bar in bars}) <= 1


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=6))
def test_a_larger_change_never_has_a_shorter_bar(values: list[float]) -> None:
    bars = draw_bars([(value, value, value) for value in values], 21)
    order = sorted(range(len(values)), key=lambda index: abs(values[index]))
    lengths = [bars[index].count("█") for index in order]
    assert lengths == sorted(lengths)
    for value, bar in zip(values, bars, strict=True):
        other = bar.partition("│")[2 if value < 0 else 0]
        assert not other.strip()
