"""Tables as Markdown, for TensorBoard's text tab and for notes."""

from __future__ import annotations

import re

from surgery.report._format import format_column, printable
from surgery.report._table import Table

# As entities: a backslash before a pipe is not understood by every renderer.
_SPECIAL = re.compile(r"[\\`*_{}\[\]<>#|&~$]")


def markdown(table: Table) -> str:
    """Title, table and caption; text from users shows as it is."""
    columns = [column for column in table.columns if column.format != "bar"]
    lines: list[str] = []
    if table.title:
        lines += [f"**{_escape(table.title)}**", ""]
    lines.append(_row([_escape(column.title) for column in columns]))
    marks = ["---" if c.format in ("text", "shape") else "---:" for c in columns]
    lines.append(_row(marks))
    for section in table.sections():
        cells = [
            format_column([row.get(column.name) for row in section], column.format)
            for column in columns
        ]
        lines += [_row([*map(_escape, row)]) for row in zip(*cells, strict=True)]
    for line in table.caption.split("\n"):
        if line.strip():
            lines += ["", _escape(line)]
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escape(text: str) -> str:
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", printable(text))
