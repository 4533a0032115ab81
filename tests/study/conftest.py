"""Studies in folders of their own, and without progress in the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import surgery
from tests.study import small

Make = Callable[..., surgery.Study]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a small study in this test's folder."""

    def made(**options: Any) -> surgery.Study:
        return small.study(tmp_path / "study", **options)

    return made
