"""Several processes of torchrun: their curves are those of one process, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.engine.test_sharded import content, launched
from tests.sensitivity.sharded import ALIKE


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    return launched(folder, 2, "tests.sensitivity.sharded")


@pytest.mark.parametrize("name", ALIKE)
def test_two_processes_give_what_one_gives(
    name: str, two: Path, tmp_path: Path
) -> None:
    ALIKE[name]().save(tmp_path / "alone.json")
    expected = content(tmp_path / "alone.json")
    assert expected["rows"]
    for rank in (0, 1):
        assert content(two / f"{name}-{rank}.json") == expected
    saved = json.loads((two / f"{name}-0.json").read_text(encoding="utf-8"))
    assert saved["provenance"]["world_size"] == 2
    if name == "adaptive":
        assert saved["provenance"]["rounds"] > 1


@pytest.mark.parametrize("rank", [0, 1])
def test_methods_are_refused_together_and_run_alone(rank: int, two: Path) -> None:
    told = json.loads((two / f"told-{rank}.json").read_text(encoding="utf-8"))
    assert "runs in one process, but 2 measure together" in told["together"]
    assert "Engine(sharded=False)" in told["together"]
    assert told["alone"] == 70 + rank
