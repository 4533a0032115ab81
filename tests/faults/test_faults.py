"""Kills at random: the ledger sees what must never happen, and it does not happen."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.faults.ledger import Ledger, stored
from tests.study import small


def studied(folder: Path) -> Ledger:
    small.study(folder / "study").run(progress=False)
    trials = [record.id for record in stored(folder)]
    (folder / "begun.txt").write_text("".join(f"{id} 1\n" for id in trials))
    ledger = Ledger(folder)
    ledger.look()
    assert len(trials) == 2 and ledger.wrong == [] and ledger.lost == 0
    return ledger


def test_a_study_that_nobody_killed_has_nothing_wrong(tmp_path: Path) -> None:
    ledger = studied(tmp_path)
    ledger.close({record.id: record.metrics for record in stored(tmp_path)})
    assert ledger.wrong == []


def test_what_must_never_happen_is_seen(tmp_path: Path) -> None:
    ledger = studied(tmp_path)
    first, second = (record.id for record in stored(tmp_path))
    truth = {record.id: record.metrics for record in stored(tmp_path)}
    with open(tmp_path / "begun.txt", "a") as file:
        file.write(f"{first} 2\n")
    database = sqlite3.connect(tmp_path / "study" / "study.db")
    with database:
        database.execute("UPDATE trials SET attempt = 2 WHERE id = ?", (second,))
    database.close()
    truth[first] = {**truth[first], "accuracy": truth[first]["accuracy"] + 1e-16 + 1.0}
    ledger.close(truth)
    told = "\n".join(ledger.wrong)
    assert f"{first} was COMPLETE, and was started again" in told
    assert f"{second} was COMPLETE, and its record changed" in told
    assert f"{first} came to" in told
    assert len(ledger.wrong) == 3


@pytest.mark.heavy
def test_kills_of_drivers_and_workers_change_no_result(tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    command = [sys.executable, "-m", "benchmarks.faults", "--drivers", "8"]
    command += ["--workers", "4", "--page", str(page)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killing a driver" in page.read_text()
