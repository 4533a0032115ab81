"""Tables hold rows; pandas gets the raw values."""

import math

import pytest

from surgery.errors import SurgeryError
from surgery.report import Column, Table, to_pandas

ROWS = (
    {"name": "a", "delta": -0.123456, "n": 3, "bar": (1, 0, 2), "s": 1},
    {"name": "b", "delta": math.nan, "s": 1},
    {"name": "c", "delta": 1.0, "n": 4, "s": 2},
)
COLUMNS = (
    Column("name", header="Name"),
    Column("delta", "signed", "change"),
    Column("n", "integer"),
    Column("bar", "bar"),
    Column("range", "interval"),
)


def test_pandas_gets_raw_values_under_raw_names() -> None:
    frame = to_pandas(Table("", COLUMNS, ROWS))
    assert list(frame.columns) == ["name", "delta", "n"]
    assert frame["delta"][0] == -0.123456
    assert math.isnan(frame["delta"][1])
    assert list(frame["name"]) == ["a", "b", "c"]
    assert math.isnan(frame["n"][1])


def test_an_empty_table_keeps_its_columns_in_pandas() -> None:
    frame = to_pandas(Table("", COLUMNS, ()))
    assert list(frame.columns) == ["name", "delta", "n"]
    assert len(frame) == 0


def test_sections_are_cut_where_their_field_changes() -> None:
    table = Table("", COLUMNS, ROWS, section="s")
    assert [len(section) for section in table.sections()] == [2, 1]
    assert [len(section) for section in Table("", COLUMNS, ROWS).sections()] == [3]
    assert Table("", COLUMNS, ()).sections() == []


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(SurgeryError, match="different names, got x more than once"):
        Table("", (Column("x"), Column("x", "signed")), ())


def test_a_column_is_headed_by_its_name_unless_told_otherwise() -> None:
    assert Column("delta").title == "delta"
    assert Column("delta", header="").title == ""
