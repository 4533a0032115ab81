"""Tables of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MANY = 12
"""Of equal faults in one model, so many places are named."""


def grouped(found: Iterable[tuple[str, str, str]]) -> str:
    places: dict[tuple[str, str], list[str]] = {}
    for model, where, why in found:
        places.setdefault((model, why.replace("\n", " ")[:400]), []).append(where)
    rows = [
        (model, _named(where), len(where), why)
        for (model, why), where in places.items()
    ]
    header = ("model", "where", "places", "what")
    return table(header, rows) if rows else "None."


def _named(places: Sequence[str]) -> str:
    more = f" and {len(places) - MANY} more" if len(places) > MANY else ""
    return ", ".join(f"`{place}`" for place in places[:MANY]) + more


def of(good: int, all_of: int) -> str:
    return f"{good:,} of {all_of:,}"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")
