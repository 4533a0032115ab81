"""`surgery study` as a user calls it, on a file of the user's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import surgery
from surgery.cli._app import app
from surgery.cli._study_file import load_study, seeds_from
from surgery.errors import StudyError
from surgery.study import StudyResults

SOURCE = """
import surgery
from tests.study import small

study = surgery.Study(
    "mine",
    train=small.train,
    model=small.make_model,
    data=small.make_data,
    config=small.CONFIG,
    metric=["accuracy", "spread"],
    seeds=2,
    storage={storage!r},
    trackers=(),
)
study.layers.include("fc1", "fc2", remove="zero")
study.layers.include_groups(["fc1", "fc2"], remove="zero")
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["study", *arguments], env={"COLUMNS": "250"})


@pytest.fixture
def file(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A file that makes a study, under a name of this test's own."""
    name = f"mine_{abs(hash(request.node.name))}"
    path = tmp_path / f"{name}.py"
    path.write_text(SOURCE.format(storage=str(tmp_path / "runs")))
    before = list(sys.path)
    yield str(path)
    sys.path[:] = before
    sys.modules.pop(name, None)


def test_a_study_is_planned_run_and_shown(file: str, tmp_path: Path) -> None:
    planned = run("plan", file)
    assert planned.exit_code == 0, planned.output
    assert "fc1 + fc2" in planned.stdout and "2 PENDING" in planned.stdout
    done = run("run", file, "--no-progress")
    assert done.exit_code == 0, done.output
    assert "Study mine" in done.stdout and "without it" in done.stdout
    assert "2 COMPLETE" in run("plan", file).stdout
    saved, logs = tmp_path / "results.json", tmp_path / "logs"
    shown = run("show", file, "--save", str(saved), "--tensorboard", str(logs))
    assert shown.stdout == done.stdout
    assert StudyResults.load(saved).render(250, color=False) in shown.stdout
    assert list(logs.rglob("*tfevents*"))
    for view in ("importance", "shares", "joint", "build-up", "costs", "trials"):
        for form in ("text", "csv", "json"):
            said = run("show", file, "--view", view, "--format", form)
            assert said.exit_code == 0, said.output
            assert "fc2" in said.stdout
    assert r"\toprule" in run("show", file, "--format", "latex").stdout
    summary = run("show", file, "--view", "summary", "--format", "json").stdout
    assert json.loads(summary)["num_trials"] == 8
    assert "num_trials: 8" in run("show", file, "--view", "summary").stdout
    refused = run("show", file, "--view", "summary", "--format", "latex")
    assert refused.exit_code == 2 and "text or json" in refused.stderr
    shares = run("show", file, "--view", "shares", "--metric", "spread")
    assert "change of spread" in shares.stdout


def test_some_arms_are_run_and_run_again(file: str) -> None:
    assert run("run", file, "--no-progress", "--arms", "fc1", "fc2").exit_code == 0
    trials = json.loads(
        run("show", file, "--view", "trials", "--format", "json").stdout
    )
    states = {trial["arm"]: trial["state"] for trial in trials}
    assert set(states.items()) >= {("base", "COMPLETE"), ("fc2", "COMPLETE")}
    assert states.get("fc1 + fc2") in (None, "PENDING")
    again = run("run", file, "--no-progress", "--arms", "fc1 + fc2", "--again")
    assert again.exit_code == 0, again.output
    wrong = run("run", file, "--arms", "fc9")
    assert wrong.exit_code == 2 and "there is no arm 'fc9'" in wrong.stderr
    assert "--arms fc1" in run("run", file, "fc1").stderr


def test_seeds_and_settings_are_other_trials(file: str) -> None:
    only = run("plan", file, "--seeds", "0,1,5", "--set", "loss.smoothing=0.2")
    assert "x 3 seeds" in only.stdout
    study = load_study(file, ["loss.smoothing=0.2", "log_dir=there"])
    assert study._configs[""]["loss"]["smoothing"] == 0.2
    assert study._configs[""]["log_dir"] == "there"
    wrong = run("plan", file, "--set", "loss.smothing=1")
    assert wrong.exit_code == 2 and "did you mean 'loss.smoothing'" in wrong.stderr
    assert "key=value" in run("plan", file, "--set", "lr").stderr


def test_workers_find_the_file_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "workers_find_this.py"
    text = Path(sys.modules["tests.study.small"].__file__ or "").read_text()
    own = SOURCE.format(storage=str(tmp_path / "runs")).replace("small.", "")
    lines = own.splitlines()
    kept = [line for line in lines if not line.startswith(("import", "from"))]
    path.write_text(text.replace("def study(", "def other(") + "\n".join(kept))
    before = list(sys.path)
    try:
        done = run("run", str(path), "--workers", "2", "--no-progress", "--seeds", "1")
        assert done.exit_code == 0, done.output
        assert "failed" not in done.stdout
    finally:
        sys.path[:] = before


def test_a_study_is_compared_with_a_saved_ranking(file: str, tmp_path: Path) -> None:
    from tests.study import small

    run("run", file, "--no-progress")
    data: Any = small.make_data()
    model = small.make_model(small.CONFIG, ()).eval()
    targets: list[Any] = ["fc1", "fc2", ["fc1", "fc2"]]
    ranking = surgery.rank(model, data["test"], targets, progress=False)
    saved, drawn = tmp_path / "ranking.json", tmp_path / "compared.png"
    ranking.save(saved)
    said = run("compare", file, str(saved), "--plot", str(drawn))
    assert said.exit_code == 0, said.output
    assert "fc1 + fc2" in said.stdout and drawn.stat().st_size > 1000
    missing = run("compare", file, str(tmp_path / "none.json"))
    assert missing.exit_code == 2 and "there is no ranking" in missing.stderr


def test_files_without_a_study_are_told(tmp_path: Path) -> None:
    assert "there is no file" in run("plan", str(tmp_path / "none.py")).stderr
    before = list(sys.path)
    try:
        for name, source, word in (
            ("no_study_here", "x = 1", "no study"),
            ("wrong_maker", "def make_study():\n    return 3", "returned int"),
            ("asking_maker", "def make_study(x):\n    return 3", "requires x"),
        ):
            path = tmp_path / f"{name}.py"
            path.write_text(source)
            assert word in run("plan", str(path)).stderr
        taken = tmp_path / "json.py"
        taken.write_text("x = 1")
        assert "give the file another name" in run("plan", str(taken)).stderr
    finally:
        sys.path[:] = before


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("5", 5), ("0,3,7", [0, 3, 7]), ("3-6", [3, 4, 5, 6]), (None, None)],
)
def test_seeds_are_a_number_a_list_or_a_range(text: str | None, seeds: Any) -> None:
    assert seeds_from(text) == seeds


def test_other_seeds_are_refused() -> None:
    with pytest.raises(StudyError, match="how many"):
        seeds_from("many")
