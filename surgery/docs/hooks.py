"""What the documentation takes from the code, so that the two cannot differ."""

from __future__ import annotations

from collections.abc import Mapping

TABLE = "<!-- table: kind x mode -->"


def on_page_markdown(markdown: str, **_: object) -> str:
    """Called by mkdocs for every page."""
    return markdown.replace(TABLE, kind_mode_table())


def kind_mode_table() -> str:
    """The kind x mode table of `surgery.ops` in Markdown."""
    from surgery.ops import KIND_MODES

    modes = list(dict.fromkeys(mode for row in KIND_MODES.values() for mode in row))
    lines = [_line(["", *modes]), _line(["---"] * (len(modes) + 1))]
    lines += [_row(kind, row, modes) for kind, row in _sorted(KIND_MODES)]
    return "\n".join(lines)


def _row(kind: str, allowed: tuple[str, ...], modes: list[str]) -> str:
    return _line([kind, *("yes" if mode in allowed else "" for mode in modes)])


def _sorted(table: Mapping[str, tuple[str, ...]]) -> list[tuple[str, tuple[str, ...]]]:
    return sorted(table.items(), key=lambda item: -len(item[1]))


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
