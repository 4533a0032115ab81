"""The demo of tiers: decoupled heads, noise, and real images after synthetic ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from surgery.demos import run_synthetic
from surgery.demos._sweep import sweep_tables
from surgery.demos._synthetic_study import CONFIG, TIERS, make_digits, make_synthetic
from surgery.study import StudyResults


def value(
    results: StudyResults, tier: str, context: str, arm: str, metric: str
) -> list[float]:
    (found,) = [
        one
        for one in results.arms
        if (one.tier, one.context, one.arm.name) == (tier, context, arm)
    ]
    return list(found.values(metric).values())


def test_train_and_evaluation_share_embeddings_and_differ_in_noise() -> None:
    data = make_synthetic({**CONFIG, "noise": 0.0}, 0)
    train = torch.cat(data["train"].frames).unique(dim=0)
    test = torch.cat(data["test"].frames).unique(dim=0)
    torch.testing.assert_close(train, test)
    torch.testing.assert_close(train @ train.T, torch.eye(10))
    noisy = make_synthetic(CONFIG, 0)
    shown = [set(map(tuple, torch.cat(noisy[s].frames).tolist())) for s in noisy]
    assert not shown[0] & shown[1]


def test_digits_for_evaluation_are_other_images() -> None:
    data = make_digits({**CONFIG, "noise": 0.0}, 0)
    train = set(map(tuple, torch.cat(data["train"].frames).tolist()))
    test = set(map(tuple, torch.cat(data["test"].frames).tolist()))
    assert len(train) > 300 and not train & test


def test_a_short_demo_shows_a_table_per_class_of_objectives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noises = (0.5, 2.0)
    results = run_synthetic(tmp_path, seeds=1, noises=noises, epochs=1, sequences=12)
    out = capsys.readouterr().out
    assert out.count("Objectives of the head") == 2
    for tier in ("synthetic", ""):
        for noise in ("noise 0.5", "noise 2"):
            # The heads are decoupled: freezing one changes nothing in the other.
            for head, metric in (("boundaries", "frames"), ("classes", "boundary_f1")):
                both = value(results, tier, noise, "base", metric)
                assert value(results, tier, noise, head, metric) == both
    one, two = sweep_tables(results, TIERS, noises)
    assert len(one) == 3 * 2 * 3 and len(two) == 2 * 2 * 3
    (row,) = [
        row
        for row in one
        if (row["metric"], row["tier"], row["variant"])
        == ("frames", "digits", "classes frozen")
    ]
    (expected,) = value(results, "", "noise 2", "classes", "frames")
    assert row["2"] == expected
    assert list((tmp_path / "summary").rglob("*tfevents*"))


@pytest.mark.heavy
def test_the_whole_demo_shows_where_each_variant_breaks(tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "surgery"
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [program, "demo", "synthetic", "--workers", "2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Objectives of the head") == 2
    results = StudyResults.load(tmp_path / "runs/synthetic/results.json")
    for tier in ("synthetic", ""):
        least = [r for r in results if (r.tier, r.context) == (tier, "noise 0.25")]
        says = {(row.arm, row.metric): row.verdict for row in least}
        assert says["classes", "frames"] == "important"
        assert says["boundaries", "frames"] == "inconclusive"
