"""The demo of a study: the people, what is left out, and the whole of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from surgery.demos import load_titanic, run_titanic
from surgery.demos._titanic import split_titanic
from surgery.demos._titanic_study import make_data, make_study
from surgery.study import StudyResults

ARMS = {
    "base",
    "sex",
    "age",
    "sex + age",
    "class_*",
    "fc2",
    "fc3",
    "fc4",
    "fc2 + fc4",
    "fc*",
    "straight",
}


def test_the_table_has_the_people_of_the_titanic() -> None:
    people = load_titanic()
    assert len(people) == 2201
    assert people.survived.sum() == 711
    assert list(people.filter(like="class_").sum()) == [325, 285, 706, 885]
    women = people[people.sex == 1]
    assert (len(women), women.survived.sum()) == (470, 344)
    children = people[people.age == 1]
    assert (len(children), children.survived.sum()) == (109, 57)
    assert (people.filter(like="class_").sum(axis=1) == 1).all()


def test_each_seed_tests_on_other_people() -> None:
    one, other = split_titanic(0), split_titanic(1)
    assert len(one["train"]) == 1651 and len(one["test"]) == 550
    assert not set(one["train"].index) & set(one["test"].index)
    assert set(one["test"].index) != set(other["test"].index)
    assert list(split_titanic(0)["test"].index) == list(one["test"].index)


def test_the_arms_lack_what_they_say(tmp_path: Path) -> None:
    seen: dict[str | None, Any] = {}
    study = make_study(tmp_path, 1)

    def watch(model: torch.nn.Module, data: Any, component: str | None) -> Any:
        seen[component] = (list(data["train"].columns), dict(model.named_modules()))
        return {"accuracy": 0.0, "f1": 0.0, "log_loss": 0.0}

    from surgery.study.execution import Factories

    given = study._tiers[""]
    study._tiers = {"": Factories(given.model, given.data, watch)}
    study.run(progress=False)
    assert {name or "base" for name in seen} == ARMS
    columns = list(make_data(0)["train"].columns)
    assert seen[None][0] == columns
    assert seen["sex"][0] == [name for name in columns if name != "sex"]
    assert seen["class_*"][0] == ["sex", "age", "survived"]
    hidden = {"fc2", "fc3", "fc4"}
    for arm, gone in (("fc2", {"fc2"}), ("fc2 + fc4", {"fc2", "fc4"}), ("fc*", hidden)):
        layers = [
            name for name, m in seen[arm][1].items() if isinstance(m, torch.nn.Linear)
        ]
        assert set(layers) == {"enter", "leave"} | hidden - gone
    assert set(seen["straight"][1]) == {"", "only"}


def test_a_short_demo_prints_its_tables_and_keeps_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = run_titanic(tmp_path, seeds=2, epochs=1)
    out = capsys.readouterr().out
    assert {one.arm.name for one in results.arms} == ARMS
    assert all(trial.state == "COMPLETE" for o in results.arms for trial in o.trials)
    for words in ("decisions", "probabilities", "Expected against actual", "Kendall"):
        assert words in out
    assert StudyResults.load(tmp_path / "results.json").summary() == results.summary()
    runs = list(tmp_path.glob("summary/trials/*/*/*tfevents*"))
    assert len(runs) == 2 * len(ARMS)


@pytest.mark.heavy
def test_the_whole_demo_finds_what_is_known_of_the_titanic(tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "surgery"
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [program, "demo", "titanic", "--workers", "2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    results = StudyResults.load(tmp_path / "runs/titanic/results.json")
    rows = {row.arm: row for row in results if row.metric == "accuracy"}
    assert set(rows) == ARMS - {"base"}
    assert rows["sex"].verdict == "important" and rows["sex"].belief == "confirmed"
    assert rows["fc2"].verdict == "inconclusive"
    assert 0.76 < rows["sex"].baseline < 0.80
