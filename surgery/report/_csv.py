"""Tables as CSV: the raw values under their raw names."""

from __future__ import annotations

import csv
import io
import json

from surgery.report._json import plain_json
from surgery.report._table import Table


def csv_text(table: Table) -> str:
    """Numbers with all their digits; what is missing is empty, dicts are JSON."""
    names = [c.name for c in table.columns if c.format not in ("bar", "interval")]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    for row in table.rows:
        writer.writerow([_cell(row.get(name)) for name in names])
    return file.getvalue()


def _cell(value: object) -> object:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, dict | list | tuple):
        return json.dumps(plain_json(value))  # pyright: ignore[reportUnknownArgumentType]
    return value
