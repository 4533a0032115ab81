"""Data frames as JSON records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from surgery.report import JSONValue, plain_json

if TYPE_CHECKING:
    import pandas as pd


def json_records(frame: pd.DataFrame) -> JSONValue:
    """One object per row; what is missing is null, shapes are lists."""
    records: list[dict[Any, Any]] = frame.to_dict("records")
    return [
        {str(key): _value(value) for key, value in record.items()} for record in records
    ]


def _value(value: Any) -> JSONValue:
    if isinstance(value, float) and value != value:  # pandas' mark for "missing"
        return None
    return plain_json(value)
