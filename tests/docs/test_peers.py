"""The page for users of other packages: every test that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "surgery" / "docs" / "pages" / "peers.md"


def rows() -> list[list[str]]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    cells = [line.strip("|").split(" | ") for line in lines if line.startswith("| ")]
    return [[cell.strip(" `") for cell in row] for row in cells if row[2].strip()]


ROWS = [row for row in rows() if row[2].startswith("tests/")]


def test_both_packages_have_their_rows() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert len(ROWS) == 29
    for word in ("AblationStudy", "LOCO", "AbstractAblator", "SearchSpace", "Results("):
        assert word in page


@pytest.mark.parametrize("row", ROWS, ids=lambda row: re.sub(r"\W+", "-", row[0]))
def test_the_test_of_a_row_exists(row: list[str]) -> None:
    assert len(row) == 3, row
    file, _, name = row[2].partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
