"""Trials that fail and storage that cannot be used: told, and nothing is lost."""

from __future__ import annotations

import math
import sqlite3
from typing import Any

import pytest
import torch
from torch import nn

from surgery.errors import StudyError
from tests.study.conftest import Make


@pytest.mark.parametrize(
    ("returned", "failure", "word"),
    [
        (None, "metric", "train returned nothing"),
        ({"f1": 1.0}, "metric", "'f1', but not 'accuracy'"),
        ({"accuracy": math.nan}, "diverged", "accuracy is nan"),
        ({"accuracy": "high"}, "metric", "must be a number"),
    ],
)
def test_what_train_returns_wrongly_is_a_failed_trial(
    make: Make, returned: Any, failure: str, word: str
) -> None:
    def train(component: str | None) -> Any:
        return returned if component else {"accuracy": 0.5}

    study = make(train=train, seeds=1)
    study.layers.include("fc2", "fc3")
    results = study.run(progress=False)
    trials = results.trials().set_index("arm")
    assert trials.state["base"] == "COMPLETE"
    assert trials.state["fc2"] == trials.state["fc3"] == "FAILED"
    assert trials.failure["fc2"] == failure
    assert word in trials.message["fc2"]
    assert {row.verdict for row in results} == {"failed"}
    assert "fc2, seed 0 failed" in str(results)


def test_a_trial_that_raises_is_kept_and_tried_again_only_when_named(
    make: Make,
) -> None:
    broken = [True]
    runs: list[str | None] = []

    def train(component: str | None) -> float:
        runs.append(component)
        if component == "fc2" and broken:
            raise ValueError("no such luck")
        return 0.5

    study = make(train=train, seeds=1, version="1")
    study.layers.include("fc2", "fc3")
    state = study.run(progress=False).trials().set_index("arm").state
    assert state.to_dict() == {"base": "COMPLETE", "fc2": "FAILED", "fc3": "COMPLETE"}
    broken.clear()
    runs.clear()
    study.run(progress=False)
    assert runs == []
    study.run(arms=["fc2"], progress=False)
    assert runs == ["fc2"]
    study.run(arms=["fc3"], again=True, progress=False)
    assert runs == ["fc2", "fc3"]
    with pytest.raises(StudyError, match="no arm 'fc9'; there is 'fc"):
        study.run(arms=["fc9"], progress=False)


def test_memory_that_ran_out_is_tried_again_and_capped(make: Make) -> None:
    tries: list[str | None] = []

    def train(component: str | None) -> float:
        tries.append(component)
        if component == "fc2" or len(tries) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 0.5

    study = make(train=train, seeds=1)
    study.layers.include("fc2")
    trials = study.run(retries=2, progress=False).trials().set_index("arm")
    assert tries.count(None) == 2
    assert tries.count("fc2") == 3
    assert trials.state.to_dict() == {"base": "COMPLETE", "fc2": "FAILED"}
    assert trials.failure["fc2"] == "memory"


def test_frozen_parameters_that_move_fail_the_trial(make: Make) -> None:
    def train(model: nn.Module) -> float:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1.0)
        model(torch.zeros(2, 6))
        return 0.5

    study = make(train=train, seeds=1)
    study.layers.include("fc2", remove="freeze")
    trials = study.run(progress=False).trials().set_index("arm")
    assert trials.failure["fc2"] == "unfair"
    assert "frozen, yet moved" in trials.message["fc2"]


def test_databases_that_are_damaged_newer_or_no_study_are_told(make: Make) -> None:
    study = make(seeds=1)
    study.run(progress=False)
    path = study.folder / "study.db"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StudyError, match=r"has version 99.*upgrade"):
        study.run(progress=False)
    for leftover in study.folder.glob("study.db*"):
        leftover.unlink()
    path.write_bytes(b"this is not a database, whatever its name says" * 100)
    with pytest.raises(StudyError, match="damaged"):
        study.run(progress=False)
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE recipes (soup TEXT)")
    database.close()
    with pytest.raises(StudyError, match="not a study's"):
        study.results()


def test_a_full_disk_ends_the_run_and_loses_nothing(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from surgery.study.storage import Storage

    study = make()
    study.layers.include("fc2")
    finish = Storage.finish
    done: list[str] = []

    def full(self: Storage, id: str, outcome: Any) -> None:
        if len(done) == 2:
            (pages,) = self._database.execute("PRAGMA page_count").fetchone()
            self._database.execute(f"PRAGMA max_page_count = {pages}")
            for _ in range(1000):  # what is free in pages is used up first
                self.record_run({"filler": "x" * 1000})
        finish(self, id, outcome)
        done.append(id)

    monkeypatch.setattr(Storage, "finish", full)
    with pytest.raises(StudyError, match="free some space and run the study again"):
        study.run(progress=False)
    monkeypatch.undo()
    states = study.results().trials().state
    assert (states == "COMPLETE").sum() == 2
    assert set(study.run(progress=False).trials().state) == {"COMPLETE"}


def test_two_drivers_of_one_study_are_refused(make: Make) -> None:
    study = make(seeds=1)

    def train() -> float:
        with pytest.raises(StudyError, match="being run by another driver"):
            make(seeds=1).run(progress=False)
        return 0.5

    outer = make(seeds=1, train=train)
    assert set(outer.run(progress=False).trials().state) == {"COMPLETE"}
    study.run(progress=False)  # the lock is gone
