"""Tables for the console: rich where there are colours, plain text elsewhere."""

from __future__ import annotations

import io
import shutil
import sys
from typing import TYPE_CHECKING, cast

from surgery.report._bar import draw_bars
from surgery.report._format import format_column, printable
from surgery.report._table import Column, Table

if TYPE_CHECKING:
    from rich.console import RenderableType

FALLBACK_WIDTH = 120  # files, pipes and notebooks have no width of their own
BAR = (6, 31)  # narrowest and widest bar
# How far texts fold for a bar of so much: gladly for a wide one, hardly for more.
FOLDS = ((44, 31), (24, 16), (16, 6))
GAP = 2  # between columns
_NUMERIC = ("number", "signed", "integer", "percent", "p")
_ASCII = str.maketrans("█▓░│─━–…×·", "#=-|---.x.")


def render(table: Table, width: int | None = None, color: bool | None = None) -> str:
    """The table as text.

    Args:
        width: Columns of the terminal; by default the terminal's own, or 120.
        color: Whether to use colours; by default only on a terminal.
    """
    from rich.console import Console

    stdout = sys.stdout
    if width is None:
        width = shutil.get_terminal_size((FALLBACK_WIDTH, 24)).columns
    if color is None:
        color = bool(stdout and stdout.isatty())
    console = Console(
        file=io.StringIO(),
        width=max(width, sum(_layout(table, _cells(table), width).values())),
        force_terminal=color,
        force_jupyter=False,
        color_system="standard" if color else None,
        legacy_windows=False,
        _environ={},  # what COLUMNS and the like say was heeded above
    )
    console.print(draw(table, width))
    text = cast(io.StringIO, console.file).getvalue()
    text = "\n".join(line.rstrip() for line in text.splitlines())
    return _encodable(text, getattr(stdout, "encoding", None) or "utf-8")


def draw(table: Table, width: int) -> RenderableType:
    """The table for a rich console of that width; wide names are folded, not cut."""
    from rich import box
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    cells = _cells(table)
    widths = _layout(table, cells, width)
    shown = [column for column in table.columns if column.name in widths]
    drawn = RichTable(
        box=box.SIMPLE_HEAD, show_edge=False, padding=(0, GAP - 1, 0, 0), pad_edge=False
    )
    for column in shown:
        numeric = column.format in _NUMERIC
        drawn.add_column(
            Text(column.title, "bold", justify="right" if numeric else "left"),
            width=widths[column.name] - GAP,
            no_wrap=column.format != "text",
            overflow="fold",
        )
    start = 0
    for section in table.sections():
        for column in shown:
            if column.format == "bar":
                triples = [_triple(row.get(column.name)) for row in section]
                room = widths[column.name] - GAP
                cells[column.name][start:] = draw_bars(triples, room)
        for index, row in enumerate(section, start):
            drawn.add_row(
                *(
                    Text(
                        cells[column.name][index],
                        style=column.styles.get(str(row.get(column.name)), ""),
                    )
                    for column in shown
                ),
                end_section=index == start + len(section) - 1,
            )
        start += len(section)
    captions = [column.help for column in shown if column.format == "bar"]
    captions += table.caption.split("\n")
    parts: list[RenderableType] = [drawn]
    if table.title:
        parts[:0] = [Text(printable(table.title), style="bold"), ""]
    if any(captions):
        lines = [_indented(line) for line in captions if line]
        parts += ["", Text("\n".join(lines), overflow="fold")]
    return Group(*parts)


def _indented(line: str) -> str:
    return " " * (len(line) - len(line.lstrip(" "))) + printable(line)


def _cells(table: Table) -> dict[str, list[str]]:
    """Text of all cells, numbers with their decimal points below one another."""
    sections = table.sections()
    cells: dict[str, list[str]] = {}
    for column in table.columns:
        texts = [
            text
            for section in sections
            for text in format_column(
                [row.get(column.name) for row in section], column.format
            )
        ]
        if column.format in ("number", "signed", "p"):
            tails = [len(text) - len(text.partition(".")[0]) for text in texts]
            most = max(tails, default=0)
            pairs = zip(texts, tails, strict=True)
            texts = [text + " " * (most - tail) for text, tail in pairs]
        if column.format in _NUMERIC:
            widest = _widest(texts, column)
            texts = [text.rjust(widest) for text in texts]
        cells[column.name] = texts
    return cells


def _layout(table: Table, cells: dict[str, list[str]], width: int) -> dict[str, int]:
    """Width of each column with its gap; a bar without room is left out.

    Numbers are never cut: where even they do not fit, the terminal wraps the lines.
    """
    width += GAP  # the last column has no gap
    rooms = {
        column.name: _widest(cells[column.name], column) + GAP
        for column in table.columns
        if column.format != "bar"
    }
    texts = [column.name for column in table.columns if column.format == "text"]
    bars = [column.name for column in table.columns if column.format == "bar"]
    needed = len(bars) * (BAR[0] + GAP)
    with_bars = rooms
    for least, bar in FOLDS:
        left = width - len(bars) * (bar + GAP)
        with_bars = _folded(with_bars, texts, left, least)
    if bars and sum(with_bars.values()) + needed <= width:  # rather fold than lose it
        room = (width - sum(with_bars.values())) // len(bars)
        return with_bars | dict.fromkeys(bars, min(room, BAR[1] + GAP))
    return _folded(rooms, texts, width, FOLDS[-1][0])


def _folded(
    rooms: dict[str, int], texts: list[str], width: int, least: int
) -> dict[str, int]:
    """Texts made narrower until all fits, the widest first, none below `least`."""
    rooms = dict(rooms)
    while sum(rooms.values()) > width and texts:
        widest = max(texts, key=lambda name: rooms[name])
        if rooms[widest] <= least + GAP:
            break
        rooms[widest] -= 1
    return rooms


def _widest(texts: list[str], column: Column) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, [*texts, *column.title.split("\n")]))


def _triple(value: object) -> tuple[float, float, float]:
    nan = float("nan")
    return cast("tuple[float, float, float]", value or (nan, nan, nan))


def _encodable(text: str, encoding: str) -> str:
    """The text in characters that standard output can write."""
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        text = text.translate(_ASCII)
        return text.encode("ascii", "backslashreplace").decode()
    return text
