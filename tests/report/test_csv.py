"""Tables as CSV, read back."""

import csv
import io
import math

from surgery.report import Column, Table, csv_text


def test_every_digit_comes_back() -> None:
    table = Table(
        "a title",
        (Column("arm"), Column("delta", "signed", "change"), Column("bar", "bar")),
        (
            {"arm": 'a "b", c', "delta": 1 / 3, "bar": (1, 1, 1)},
            {"arm": "line\nbreak", "delta": math.nan},
        ),
    )
    first, second = csv.DictReader(io.StringIO(csv_text(table)))
    assert list(first) == ["arm", "delta"]
    assert (first["arm"], float(first["delta"])) == ('a "b", c', 1 / 3)
    assert (second["arm"], second["delta"]) == ("line\nbreak", "")


def test_dicts_are_json() -> None:
    table = Table("", (Column("metrics"),), ({"metrics": {"loss": math.nan}},))
    assert '{""loss"": ""NaN""}' in csv_text(table)
