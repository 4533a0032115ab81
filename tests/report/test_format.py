"""Values as people read them."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surgery.report import Format, format_column, format_value, printable


@pytest.mark.parametrize(
    ("value", "format", "text"),
    [
        (0.98222, "number", "0.9822"),
        (0.99999, "number", "1.000"),
        (5.23, "number", "5.230"),
        (0.0000123, "number", "0.00001230"),
        (123456.7, "number", "123,457"),
        (0.0, "number", "0"),
        (1e-9, "number", "1.000e-09"),
        (math.inf, "number", "inf"),
        (math.nan, "number", "–"),
        (None, "number", "–"),
        (0.0111, "signed", "+0.01110"),
        (-0.84221, "signed", "-0.8422"),
        (-math.inf, "signed", "-inf"),
        (0.0, "signed", "0"),
        (0.00099, "p", "<0.001"),
        (0.001, "p", "0.001"),
        (1.0, "p", "1.000"),
        (math.nan, "p", "–"),
        (1234567, "integer", "1,234,567"),
        (2**63 + 1, "integer", "9,223,372,036,854,775,809"),
        (0.1234, "percent", "12.3 %"),
        ((2, 3, 8), "shape", "2×3×8"),
        ((), "shape", "scalar"),
        (None, "shape", "–"),
        ((-0.0412, 0.0031), "interval", "[-0.04120, +0.00310]"),
        ((math.nan, math.nan), "interval", "–"),
        ((-math.inf, 2.0), "interval", "[-inf, +2.0000]"),
        ("[red]a\nb", "text", "[red]a b"),
        ("", "text", ""),
    ],
)
def test_a_value_reads_as_expected(value: object, format: Format, text: str) -> None:
    assert format_value(value, format) == text


def test_a_column_shares_its_decimals() -> None:
    values = [-0.681, -0.0127, -0.00001, 0.0, None, math.nan, math.inf]
    assert format_column(values, "signed") == [
        "-0.6810",
        "-0.0127",
        "-0.0000",
        "0",
        "–",
        "–",
        "+inf",
    ]


def test_a_column_of_large_numbers_shows_no_decimals() -> None:
    assert format_column([12345.6, 7.25], "number") == ["12,346", "7"]


def test_a_column_beyond_ordinary_magnitudes_is_scientific() -> None:
    assert format_column([3e12, 2.0], "number") == ["3.000e+12", "2.000"]


def test_intervals_share_their_decimals() -> None:
    pairs: list[Any] = [(-0.0118, 0.0015), (-0.5, -0.25), None]
    assert format_column(pairs, "interval") == [
        "[-0.0118, +0.0015]",
        "[-0.5000, -0.2500]",
        "–",
    ]


@given(st.floats(min_value=1e-5, max_value=1e8))
def test_four_digits_are_right_and_never_scientific(number: float) -> None:
    text = format_value(number, "number")
    assert "e" not in text
    assert float(text.replace(",", "")) == pytest.approx(number, rel=5.01e-4)


@given(st.text(st.characters()))
def test_printable_text_is_one_harmless_line(text: str) -> None:
    assert all(char.isprintable() for char in printable(text))


def test_escape_sequences_become_visible() -> None:
    assert printable("\x1b[31mred\x07\ttab") == "\\x1b[31mred\\x07\\ttab"
    assert printable("first\r\n  second\n") == "first second"
    assert printable("Größe 层") == "Größe 层"
