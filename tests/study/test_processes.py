"""Drivers and workers that are killed: nothing that was done is lost or done twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from surgery.errors import StudyError
from surgery.study import LocalProcesses, StudyResults
from tests.study import small

DRIVER = """
import sys
from pathlib import Path
from tests.study import small

if __name__ == "__main__":
    folder, workers = Path(sys.argv[1]), int(sys.argv[2])
    study = small.slow_study(folder, pause=0.4)
    study.run(workers=workers, progress=False)
"""


def metrics(results: StudyResults) -> dict[tuple[str, int], dict[str, float]]:
    return {
        (one.arm.name, trial.seed): dict(trial.metrics)
        for one in results.arms
        for trial in one.trials
    }


def epochs(folder: Path) -> list[tuple[int, str, int]]:
    """Process, trial and number of every epoch that was trained."""
    if not (folder / "epochs.txt").exists():
        return []
    lines = (folder / "epochs.txt").read_text().splitlines()
    found = [line.split() for line in lines]
    return [(int(pid), trial, int(epoch)) for pid, trial, epoch in found]


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def waited(condition: Any, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


def test_a_killed_worker_loses_its_trial_which_is_run_again(tmp_path: Path) -> None:
    config = {**small.CONFIG, "log_dir": str(tmp_path)}
    study = small.study(
        tmp_path / "study", train=small.train_until_killed, config=config, seeds=1
    )
    study.layers.include("fc2", "fc3")
    trials = study.run(workers=2, progress=False).trials().set_index("arm")
    assert (tmp_path / "killed").exists()
    assert set(trials.state) == {"COMPLETE"}
    assert trials.attempt.to_dict() == {"base": 1, "fc2": 2, "fc3": 1}


def test_workers_start_before_the_study_is_checked_and_end_if_it_is_wrong(
    tmp_path: Path,
) -> None:
    started: list[int] = []

    class Watched(LocalProcesses):  # type: ignore[misc] # pyright: ignore
        def warm_up(self) -> None:
            super().warm_up()
            started.extend(w.process.pid or 0 for w in self._workers)

    study = small.study(tmp_path, seeds=1)
    study.layers.include("fc9")
    with pytest.raises(StudyError, match="fc9"):
        study.run(executor=Watched(2, threads=1), progress=False)
    assert len(started) == 2
    assert not any(map(is_alive, started))


def test_a_worker_whose_children_live_on_is_still_missed(tmp_path: Path) -> None:
    config = {**small.CONFIG, "log_dir": str(tmp_path)}
    study = small.study(
        tmp_path / "study",
        train=small.train_until_killed_with_a_child,
        config=config,
        seeds=1,
    )
    study.layers.include("fc2")
    executor = LocalProcesses(1)
    trials = study.run(executor=executor, progress=False).trials().set_index("arm")
    child = int((tmp_path / "child").read_text())
    try:
        assert is_alive(child), "the run waited for what its worker left behind"
        assert trials.attempt.to_dict() == {"base": 1, "fc2": 2}
        assert set(trials.state) == {"COMPLETE"}
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_worker_that_always_dies_is_a_failed_trial(tmp_path: Path) -> None:
    config = {**small.CONFIG, "log_dir": str(tmp_path / "not there")}
    study = small.study(
        tmp_path / "study", train=small.train_until_killed, config=config, seeds=1
    )
    study.layers.include("fc2")
    executor = LocalProcesses(1)
    trials = study.run(executor=executor, retries=1, progress=False).trials()
    trials = trials.set_index("arm")
    assert trials.state.to_dict() == {"base": "COMPLETE", "fc2": "FAILED"}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_driver_goes_on_where_it_stopped(tmp_path: Path, workers: int) -> None:
    folder = tmp_path / "killed"
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    command = [sys.executable, str(script), str(folder), str(workers)]
    driver = subprocess.Popen(command, env=environment)
    try:
        # Some trial is complete, another is under way.
        begun = waited(lambda: len({t for _, t, _ in epochs(folder)}) > workers, 120)
        assert begun, "the driver never trained anything"
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    trained = {pid for pid, _, _ in epochs(folder)}
    assert waited(lambda: not any(map(is_alive, trained)), 5), "workers live on"
    before = epochs(folder)

    study = small.slow_study(folder, pause=0)
    unfinished = study.results().trials().set_index("id").state
    assert "COMPLETE" in set(unfinished)
    results = study.run(progress=False)
    assert set(results.trials().state) == {"COMPLETE"}
    after = epochs(folder)[len(before) :]
    complete = {id for id, state in unfinished.items() if state == "COMPLETE"}
    assert not {trial for _, trial, _ in after} & complete
    # A checkpoint is written before the mark, so no epoch is trained twice but the
    # one that was under way.
    assert len(set(after) & set(before)) == 0
    undisturbed = small.slow_study(tmp_path / "undisturbed", pause=0)
    (tmp_path / "undisturbed").mkdir()
    assert metrics(undisturbed.run(progress=False)) == metrics(results)


def test_what_cannot_be_sent_to_workers_is_told(tmp_path: Path) -> None:
    study = small.study(tmp_path / "study", model=lambda: small.Net(6, 16))
    with pytest.raises(StudyError, match="top level of a file"):
        study.run(workers=2, progress=False)
    assert set(study.results().trials().state) == {"PENDING"}
    with pytest.raises(StudyError, match="workers must be a number"):
        study.run(workers=0)
