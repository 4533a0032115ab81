"""Several processes of torchrun: their ranking is that of one process, bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torchmetrics

from surgery.engine._feeds import working_copy
from tests.engine.sharded import ALIKE

ROOT = Path(__file__).parent.parent.parent


def launched(folder: Path, world: int, module: str = "tests.engine.sharded") -> Path:
    program = f"-m torch.distributed.run --standalone --nproc-per-node {world}"
    done = subprocess.run(
        [sys.executable, *program.split(), "-m", module, str(folder)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return folder


def content(path: Path) -> Any:
    """A saved ranking without what differs between runs."""
    body = json.loads(path.read_text(encoding="utf-8"))
    for name in ("seconds", "command", "world_size"):
        del body["provenance"][name]
    return body


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return launched(tmp_path_factory.mktemp("two"), 2)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, make in ALIKE.items():
            make().save(folder / f"{name}.json")
    return folder


@pytest.mark.parametrize("name", ALIKE)
def test_two_processes_give_what_one_gives(name: str, two: Path, alone: Path) -> None:
    expected = content(alone / f"{name}.json")
    assert expected["rows"]
    for rank in (0, 1):
        assert content(two / f"{name}-{rank}.json") == expected
    saved = json.loads((two / f"{name}-0.json").read_text(encoding="utf-8"))
    assert saved["provenance"]["world_size"] == 2


def test_the_cases_are_what_they_say(alone: Path) -> None:
    failing = content(alone / "failing.json")["provenance"]
    assert [skipped["component"] for skipped in failing["skipped"]] == ["given"]
    failed = {(f["component"], f["sample"]) for f in failing["failures"]}
    assert {(None, 70), (None, 100), ("given", 200)} <= failed
    assert content(alone / "interrupted.json")["provenance"]["data"]["batches"] == 4
    assert any(row["note"] for row in content(alone / "few.json")["rows"])


@pytest.mark.parametrize("rank", [0, 1])
def test_what_one_process_raises_ends_all(rank: int, two: Path) -> None:
    told = json.loads((two / f"told-{rank}.json").read_text(encoding="utf-8"))
    assert "a short batch" in told["one_raises"] and "rank 1" in told["one_raises"]
    assert told["one_trains"].startswith("OperationError")
    assert "model.eval()" in told["one_trains"] and "rank 1" in told["one_trains"]
    assert "differ in the first batch" in told["other_data"]
    assert "number of batches" in told["other_length"]
    assert "without that sampler" in told["dealt_twice"]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_loader_loads_the_samples_of_its_process(rank: int, two: Path) -> None:
    told = json.loads((two / f"told-{rank}.json").read_text(encoding="utf-8"))
    own = [i for i in range(300) if i // 50 % 2 == rank or i < 50]
    assert told["loaded"] == own


@pytest.mark.parametrize("rank", [0, 1])
def test_a_group_of_the_users_own_is_left_to_them(
    rank: int, two: Path, alone: Path
) -> None:
    assert content(two / f"again-{rank}.json") == content(alone / "few.json")
    told = json.loads((two / f"told-{rank}.json").read_text(encoding="utf-8"))
    assert told["alone"] == 80 + rank  # Engine(sharded=False)


@pytest.mark.heavy
def test_three_processes_give_what_one_gives(alone: Path, tmp_path: Path) -> None:
    folder = launched(tmp_path, 3)
    for name in ALIKE:
        if name == "interrupted":  # the round has other batches
            continue
        for rank in range(3):
            assert content(folder / f"{name}-{rank}.json") == content(
                alone / f"{name}.json"
            )


def test_metrics_never_sync_on_their_own() -> None:
    wrapped = torchmetrics.MinMaxMetric(torchmetrics.MeanAbsoluteError())
    parts = list(working_copy(wrapped).modules())
    assert len(parts) == 2
    assert not any(getattr(p, "_to_sync") for p in parts)  # noqa: B009
    assert wrapped._to_sync
