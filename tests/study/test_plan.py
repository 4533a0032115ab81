"""Before anything is trained: mistakes, notes, times, commands, one step of each."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from surgery.cli._app import app
from surgery.cli._study_file import load_study
from surgery.errors import StudyError
from surgery.study import Reporter
from surgery.study._notes import joined
from tests.study import small
from tests.study.conftest import Make


def test_mistakes_are_told_all_at_once_before_anything_is_trained(make: Make) -> None:
    def never(model: nn.Module) -> None:
        raise AssertionError("nothing may be trained")

    study = make(train=never)
    study.layers.include("fc22", "fc2")
    study.features.include("feature#9")
    study.factors.include("loss.smothing", off=0.0)
    study.factors.include("lr", off=0.01)
    study.factors.include("width")
    study.models.include("same", small.make_model)
    with pytest.raises(StudyError) as told:
        study.plan()
    for word in (
        "Did you mean 'fc2'",
        "no feature 'feature#9'",
        "did you mean 'loss.smoothing'",
        "factor 'lr' is identical to the base",
        "factors.include('width', off=...)",
        "model 'same' is identical to the base",
    ):
        assert word in str(told.value)
    with pytest.raises(StudyError, match="fc22"):
        study.run(progress=False)
    assert not (study.folder / "study.db").exists()


def test_groups_of_one_and_arms_said_twice_are_noted(make: Make) -> None:
    study = make()
    study.layers.include("fc2")
    study.layers.include_groups(["fc2"], name="alone")
    notes = "\n".join(study.plan().notes)
    assert "'alone' has one element" in notes
    assert "'alone' is the same as 'fc2'" in notes


def test_shared_weights_are_warned_of(make: Make) -> None:
    def tied() -> nn.Module:
        net = small.Net(6, 16)
        net.other = nn.Linear(16, 16)
        net.other.weight = net.fc2.weight
        return net

    study = make(model=tied)
    study.layers.include("fc2")
    with pytest.warns(UserWarning, match="'fc2' shares weights"):
        study.plan()


def test_a_model_factory_that_ignores_its_seed_is_found_out(make: Make) -> None:
    def stubborn() -> nn.Module:
        torch.manual_seed(7)
        return small.Net(6, 16)

    with pytest.raises(StudyError, match="ignores its seed"):
        make(model=stubborn).plan()
    make(model=stubborn, same_start=True).plan()

    def fickle() -> nn.Module:
        torch.seed()
        return small.Net(6, 16)

    with pytest.raises(StudyError, match="other parameters each time"):
        make(model=fickle).plan()


def test_functions_that_require_the_unknown_are_told_what_there_is(make: Make) -> None:
    def train(modle: nn.Module) -> float:
        return 0.0

    with pytest.raises(StudyError, match=r"'modle' \(did you mean 'model'\?\)"):
        make(train=train).plan()


def test_a_smoke_test_makes_one_step_of_every_arm_and_keeps_nothing(make: Make) -> None:
    steps: list[str | None] = []

    def train(model: nn.Module, component: str | None, reporter: Reporter) -> float:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(1000):
            model(torch.zeros(2, 6)).sum().backward()
            steps.append(component)
            optimizer.step()
        reporter.log(0, loss=0)
        return 0.5

    study = make(train=train)
    study.layers.include("fc2")
    assert [tried.arm for tried in study.smoke_test(progress=False)] == ["base", "fc2"]
    assert steps == [None, "fc2"]
    assert not study.folder.exists()

    def broken(component: str | None) -> float:
        return 1 / 0 if component else 0.5

    study = make(train=broken)
    study.layers.include("fc2")
    with pytest.raises(StudyError, match="fc2: ZeroDivisionError"):
        study.smoke_test(progress=False)


def test_the_plan_tells_time_once_the_base_is_measured(make: Make) -> None:
    study = make()
    study.layers.include("fc2")
    assert all(arm.seconds is None for arm in study.plan())
    study.run(arms="base", progress=False)
    base, other = study.plan()
    assert base.seconds == 0
    assert other.seconds is not None and other.seconds > 0
    assert base.state == "2 COMPLETE" and other.state == "2 PENDING"
    assert "to go, one after the other" in str(study.plan())
    study.run(progress=False)
    assert "Nothing of these is left to run" in str(study.plan())


SOURCE = """
import surgery
from tests.study import small

def make(name="mine"):
    made = surgery.Study(name, train=small.train, model=small.make_model,
                         data=small.make_data, config=small.CONFIG, seeds=1,
                         storage={storage!r}, trackers=())
    made.layers.include_groups(["fc1", "fc2"], remove="zero")
    return made
"""
OWN = SOURCE.replace('def make(name="mine"):', "if True:").replace("return made", "")


@pytest.mark.parametrize(
    ("source", "spec"),
    [
        (OWN.replace("name,", "'mine',"), ""),
        (
            OWN.replace("name,", "'mine',") + "\nother = surgery.Study('other', "
            "train=small.train, model=small.make_model, data=small.make_data)",
            ":made",
        ),
        (SOURCE, ":make"),
        (SOURCE.replace("def make(", "def make_study("), ""),
    ],
    ids=["a study", "one of several", "a function", "make_study"],
)
def test_the_command_of_an_arm_runs_it(
    source: str, spec: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    name = f"own_{abs(hash(request.node.name))}"
    path = tmp_path / f"{name}.py"
    path.write_text(source.format(storage=str(tmp_path / "runs")))
    before = list(sys.path)
    try:
        study = load_study(f"{path}{spec}", ["loss.smoothing=0.2"])
        _, group = study.plan(seeds=[7])
        words = shlex.split(group.command)
        assert words[:4] == ["surgery", "study", "run", f"{path}{spec}"]
        done = CliRunner().invoke(app, [*words[1:], "--no-progress"])
        assert done.exit_code == 0, done.output
        base, group = study.plan(seeds=[7])
        assert base.state == group.state == "1 COMPLETE"
        assert group.command.endswith("--arms 'fc1 + fc2' --again")
        assert Path(group.log).is_file() and "trials/" in str(study.plan())
    finally:
        sys.path[:] = before
        sys.modules.pop(name, None)


def test_where_no_command_finds_the_study_python_runs_an_arm(make: Make) -> None:
    study = make()
    study.layers.include("fc2")
    _, arm = study.plan(seeds=1)
    assert arm.command == "study.run(arms=['fc2'], seeds=[0])"
    eval(arm.command, {"study": study})
    assert study.plan(seeds=1).arms[1].command.endswith("seeds=[0], again=True)")


def test_a_study_made_only_when_its_file_is_run_has_no_command(tmp_path: Path) -> None:
    guarded = OWN.replace("if True:", 'if __name__ == "__main__":')
    guarded = guarded.replace("name,", "'mine',") + "    print(made.plan())"
    path = tmp_path / "guarded.py"
    path.write_text(guarded.format(storage=str(tmp_path / "runs")))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run(
        [sys.executable, path], env=environment, capture_output=True, text=True
    )
    assert "study.run(arms=['fc1 + fc2'])" in said.stdout, said.stderr


def test_notes_that_say_the_same_are_one() -> None:
    notes = ["a: held", "b: held", "the base drew twice", "a + b: held", "a: held"]
    arms = ["a", "b", "a + b"]
    assert joined(notes, arms) == ("a, b, a + b: held", "the base drew twice")
    assert joined(["x: why: held"], ["x", "x: why"]) == ("x: why: held",)
