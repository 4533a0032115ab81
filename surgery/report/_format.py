"""Values as people read them: one short string per value and format."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal, SupportsFloat, cast

Format = Literal[
    "text",
    "number",  # 4 significant digits
    "signed",  # likewise, with its sign
    "integer",
    "percent",  # of a fraction
    "p",
    "shape",
    "interval",  # a pair (low, high)
    "bar",  # a triple (value, low, high); drawn by `draw_bars`
]
MISSING = "–"


def printable(text: str) -> str:
    """The text on one line, with control characters made visible.

    Names and messages come from users: an escape sequence among them must not
    reach a terminal, nor a line break a table's row.
    """
    text = re.sub(r"\s*[\r\n]\s*", " ", text.strip())
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )


def format_value(value: object, format: Format) -> str:
    """One table cell; `None` and NaN give a dash."""
    if value is None:
        return MISSING
    if format == "text":
        return printable(str(value))
    if format == "shape":
        return "×".join(map(str, cast(Sequence[int], value))) or "scalar"
    if format == "interval":
        return format_column([value], "interval")[0]
    if format == "bar":
        return _number(cast(Sequence[float], value)[0], "+")
    number = float(cast(SupportsFloat, value))
    if math.isnan(number):
        return MISSING
    if format == "integer" and math.isfinite(number):
        return f"{int(cast(int, value)):,}"
    if format == "percent" and math.isfinite(number):
        return f"{100 * number:.1f} %"
    if format == "p":
        return "<0.001" if number < 0.001 else f"{number:.3f}"
    return _number(number, "+" if format == "signed" else "")


def format_column(values: Sequence[object], format: Format) -> list[str]:
    """The cells of a column: numbers have as many decimals as the largest needs.

    Only what is zero reads `0`; what is merely small reads `-0.0000`.
    """
    if format in ("number", "signed"):
        numbers = [float("nan") if v is None else float(cast(float, v)) for v in values]
        decimals = _decimals(numbers)
        sign = "+" if format == "signed" else ""
        return [_fixed(number, sign, decimals) for number in numbers]
    if format == "interval":
        pairs = [cast(Sequence[float], v or (float("nan"),) * 2) for v in values]
        decimals = _decimals([end for pair in pairs for end in pair])
        return [_bracket([_fixed(end, "+", decimals) for end in p]) for p in pairs]
    return [format_value(value, format) for value in values]


def _decimals(numbers: Sequence[float]) -> int | None:
    """Decimals for 4 digits of the largest, or `None` where each needs its own."""
    sizes = [abs(n) for n in numbers if math.isfinite(n) and n != 0]
    exponent = _exponent(max(sizes, default=1.0))
    if not -6 < exponent < 9:
        return None
    return max(3 - exponent, 4 if exponent < 2 else 0)


def _fixed(number: float, sign: str, decimals: int | None) -> str:
    if decimals is None or not math.isfinite(number) or number == 0:
        return _number(number, sign)
    return f"{number:{sign},.{decimals}f}"


def _bracket(ends: Sequence[str]) -> str:
    return MISSING if set(ends) == {MISSING} else f"[{', '.join(ends)}]"


def _number(number: float, sign: str) -> str:
    if math.isnan(number):
        return MISSING
    if number == 0:
        return "0"
    if math.isinf(number):
        return f"{number:{sign}}"
    exponent = _exponent(number)
    if not -6 < exponent < 9:
        return f"{number:{sign}.3e}"
    return f"{number:{sign},.{max(0, 3 - exponent)}f}"


def _exponent(number: float) -> int:
    """The decimal exponent after rounding to 4 digits: 0.99999 reads as 1.000."""
    return int(f"{number:.3e}".partition("e")[2])
