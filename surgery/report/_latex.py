"""Tables as LaTeX, for papers; needs `\\usepackage{booktabs}`."""

from __future__ import annotations

import re

from surgery.report._format import format_column, printable
from surgery.report._table import Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    "×": r"\ensuremath{\times}",
    "·": r"\ensuremath{\cdot}",
}
_NEGATIVE = re.compile(r"(?<![\w.])-(?=\d)")
_LEFT = ("text", "shape")


def latex(table: Table, *, label: str = "") -> str:
    """A `table` environment with rules of booktabs, the title as its caption.

    Args:
        label: What `\\ref` is to find it by.
    """
    columns = [column for column in table.columns if column.format != "bar"]
    places = "".join("l" if c.format in _LEFT else "r" for c in columns)
    titles = [_escape(" ".join(column.title.split("\n"))) for column in columns]
    lines = [r"\begin{table}", r"  \centering"]
    if table.title:
        lines.append(rf"  \caption{{{_escape(table.title)}}}")
    if label:
        lines.append(rf"  \label{{{label}}}")
    lines += [rf"  \begin{{tabular}}{{{places}}}", r"    \toprule", _row(titles)]
    for section in table.sections():
        cells = [
            [
                _escape(cell) if column.format in _LEFT else _number(cell)
                for cell in format_column(
                    [row.get(column.name) for row in section], column.format
                )
            ]
            for column in columns
        ]
        lines.append(r"    \midrule")
        lines += [_row([*row]) for row in zip(*cells, strict=True)]
    lines += [r"    \bottomrule", r"  \end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    # After the end of a line, LaTeX takes a bracket or a star for an option of it.
    first = f"{{}}{cells[0]}" if cells[0].startswith(("[", "*")) else cells[0]
    return f"    {' & '.join([first, *cells[1:]])} \\\\"


def _number(cell: str) -> str:
    """A hyphen before a digit is a minus sign."""
    return _NEGATIVE.sub("\N{NULL}", _escape(cell)).replace("\N{NULL}", "$-$")


def _escape(text: str) -> str:
    return "".join(_SPECIAL.get(char, char) for char in printable(text))
