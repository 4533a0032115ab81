"""Bars with intervals, drawn with characters."""

from __future__ import annotations

import math
from collections.abc import Sequence

Triple = tuple[float, float, float]

CERTAIN, LIKELY, POSSIBLE, ZERO = "█", "▓", "░", "│"


def draw_bars(triples: Sequence[Triple], width: int) -> list[str]:
    """One string of `width` characters for each (value, low, high), on one scale.

    From zero outwards, a bar is `█` to the near end of the interval, `▓` to the
    value and `░` to the far end. An interval that contains zero has no `█`.
    """
    ends = [end for triple in triples for end in triple if math.isfinite(end)]
    lowest, highest = min(ends, default=0.0), max(ends, default=0.0)
    lowest, highest = min(lowest, 0.0), max(highest, 0.0)
    cells = width - 1  # one is the line at zero
    span = highest - lowest
    if span == 0 or cells < 2:
        return [ZERO.ljust(width) for _ in triples]
    left = round(cells * (-lowest / span))
    if lowest < 0 < highest:  # neither side may vanish
        left = min(max(left, 1), cells - 1)
    right = cells - left
    # One scale for both sides, or equal bars would differ in length.
    cell = max(
        -lowest / left if left else 0.0,
        highest / right if right else 0.0,
    )
    return [
        _side(-1, triple, left, cell)[::-1] + ZERO + _side(1, triple, right, cell)
        for triple in triples
    ]


def _side(sign: int, triple: Triple, cells: int, cell: float) -> str:
    """One side of a bar, from zero outwards."""
    value, low, high = (sign * end for end in triple)
    if math.isnan(value):
        return " " * cells
    if math.isnan(low) or math.isnan(high):
        low, high = 0.0, value  # no interval: nothing is certain
    near, far = min(low, high), max(low, high)
    drawn = ""
    for index in range(cells):
        middle = (index + 0.5) * cell
        if middle <= near:
            drawn += CERTAIN
        elif middle <= value:
            drawn += LIKELY
        elif middle <= far:
            drawn += POSSIBLE
        else:
            drawn += " "
    return drawn
