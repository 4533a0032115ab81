"""The demo as a user runs it."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import surgery
from surgery.demos import _demo as demo_module
from surgery.demos import run_demo
from surgery.demos._recipes import SWIN


def test_the_demo_prints_a_table_keeps_everything_and_trains_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = replace(SWIN, epochs=2, batch_size=256)
    monkeypatch.setattr(demo_module, "RECIPES", (quick,))
    monkeypatch.setattr(demo_module, "PROMISED_ACCURACY", 0.0)
    ranking = run_demo(tmp_path)["swin"]
    first = capsys.readouterr()
    assert "layers.1.blocks.0" in {row.component for row in ranking}
    assert "unseen handwritten digits" in first.out and "--logdir" in first.out
    saved = surgery.Ranking.load(tmp_path / "swin" / "ranking.json")
    assert [row.value for row in saved] == [row.value for row in ranking]
    assert list((tmp_path / "swin").rglob("*tfevents*"))
    written = (tmp_path / "swin" / "weights.safetensors").stat().st_mtime_ns

    again = run_demo(tmp_path)["swin"]
    assert "weights from" in capsys.readouterr().err
    assert (tmp_path / "swin" / "weights.safetensors").stat().st_mtime_ns == written
    assert [row.value for row in again] == [row.value for row in ranking]


@pytest.mark.heavy
def test_the_whole_demo_reaches_its_accuracy_and_ranks_every_stage_and_block(
    tmp_path: Path,
) -> None:
    program = Path(sys.executable).parent / "surgery"
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [program, "demo"], cwd=tmp_path, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "training" not in done.stdout  # progress goes to standard error
    expected = {
        "resnet": [f"layer{s}{b}" for s in (1, 2, 3, 4) for b in ("", ".0", ".1")],
        "swin": [
            f"layers.{s}{b}" for s in (0, 1, 2) for b in ("", ".blocks.0", ".blocks.1")
        ],
    }
    for name, components in expected.items():
        ranking = surgery.Ranking.load(tmp_path / "runs/demo" / name / "ranking.json")
        assert sorted(row.component for row in ranking) == sorted(components)
        assert all(row.baseline >= 0.97 and row.n == 450 for row in ranking)
        assert any(row.verdict == "important" for row in ranking)
        for component in components:
            assert component in done.stdout

    again = subprocess.run(
        [program, "demo"], cwd=tmp_path, capture_output=True, text=True, env=environment
    )
    assert again.returncode == 0 and again.stdout == done.stdout
    assert "training" not in again.stderr
