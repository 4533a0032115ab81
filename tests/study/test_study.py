"""A whole study: what is planned, run, found, and told."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import surgery
from surgery.errors import StudyError
from surgery.study import Reporter, StudyResults
from tests.study import small
from tests.study.conftest import Make


def metrics(results: StudyResults) -> dict[tuple[str, int], dict[str, float]]:
    return {
        (one.arm.name, trial.seed): dict(trial.metrics)
        for one in results.arms
        for trial in one.trials
    }


def test_every_kind_of_thing_is_left_out_and_compared_with_the_base(make: Make) -> None:
    study = make(metric=["accuracy", "spread"])
    study.layers.include("fc2")
    study.layers.include("fc1", remove="freeze")
    study.features.include(0)
    study.features.include_groups([0, 1])
    study.factors.include("loss.smoothing", off=0.0, expect=0.5, why="try", priority=1)
    study.models.include("wide", small.make_wide)
    planned = [arm.arm for arm in study.plan()]
    names = ["feature#0", "feature#0 + feature#1", "fc2", "fc1", "wide"]
    assert planned == ["base", *names, "loss.smoothing"]
    results = study.run(progress=False)
    trials = results.trials()
    assert set(trials.state) == {"COMPLETE"}
    assert len(trials) == 14
    by_hand = metrics(results)
    for row in results:
        values = [by_hand[row.arm, seed][row.metric] for seed in (0, 1)]
        base = [by_hand["base", seed][row.metric] for seed in (0, 1)]
        assert row.value == pytest.approx(sum(values) / 2)
        assert row.baseline == pytest.approx(sum(base) / 2)
        assert row.delta == pytest.approx(row.value - row.baseline)
        assert row.relative == pytest.approx(row.delta / abs(row.baseline))
        assert row.n == 2
        assert row.low < row.delta < row.high or row.delta == row.low == row.high
    expected = {(r.arm, r.metric): r.expected for r in results if r.expected}
    assert expected == {("loss.smoothing", "accuracy"): 0.5}
    assert "feature#0 + feature#1" in results.render(width=250)


def test_a_trial_equals_training_by_hand_without_the_layer(make: Make) -> None:
    study = make(seeds=1)
    study.layers.include("fc2", remove="zero")
    results = study.run(progress=False)
    from surgery._random import derive

    with torch.random.fork_rng():
        torch.manual_seed(derive(0, "model"))
        model = small.make_model(small.CONFIG, ())
        assert isinstance(model, small.Net)
        model.fc2.register_forward_hook(lambda m, i, out: out * 0)
        torch.manual_seed(derive(0, "train"))
        quiet = Reporter("", Path(), lambda logged: "")
        by_hand = small.train(model, small.make_data(), small.CONFIG, quiet)
    assert metrics(results)["fc2", 0] == by_hand


def test_a_second_run_runs_nothing_and_says_the_same(make: Make) -> None:
    study = make()
    study.layers.include("fc2")
    first = metrics(study.run(progress=False))

    def never(model: nn.Module) -> None:
        raise AssertionError("it is done already")

    again = make(train=never, version=_version(study))
    again.layers.include("fc2")
    assert metrics(again.run(progress=False)) == first
    assert metrics(again.results()) == first


def _version(study: surgery.Study) -> str:
    from surgery.study._design import code_of

    return code_of(study._tiers[""])


def test_two_workers_find_what_one_process_finds(make: Make, tmp_path: Path) -> None:
    study = make()
    study.layers.include("fc2", "fc3")
    one = metrics(study.run(progress=False))
    other = small.study(tmp_path / "other")
    other.layers.include("fc2", "fc3")
    assert metrics(other.run(workers=2, progress=False)) == one


def test_a_feature_arm_lacks_the_feature_and_a_custom_arm_trains_its_model(
    make: Make,
) -> None:
    seen: dict[str | None, Any] = {}

    def train(model: nn.Module, data: Any, component: str | None) -> float:
        seen[component] = (type(model).__name__, data["train"][0].shape[1], model)
        return 0.0

    study = make(train=train, seeds=1)
    study.features.include(0)
    study.models.include("wide", small.make_wide)
    study.run(progress=False)
    assert seen[None][1] == 6
    assert seen["feature#0"][1] == 5
    assert seen["wide"][2].fc1.out_features == 64
    assert seen[None][2].fc1.out_features == 16


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


def test_all_common_parameters_start_equal_and_samples_come_in_one_order(
    make: Make,
) -> None:
    seen: dict[str | None, tuple[dict[str, torch.Tensor], list[int]]] = {}

    def data() -> Any:
        rows = torch.arange(60).float()[:, None].expand(60, 6).clone()
        pairs = torch.utils.data.TensorDataset(rows, torch.arange(60) % 3)
        return torch.utils.data.DataLoader(pairs, batch_size=6, shuffle=True)

    def train(model: nn.Module, data: Any, component: str | None) -> float:
        start = {k: v.clone() for k, v in model.state_dict().items()}
        order: list[int] = []
        for x, _ in data:
            order += x[:, -1].int().tolist()
            model(x)  # dropout draws from the global generator in between
        seen[component] = start, order
        return 0.5

    study = make(train=train, data=data, seeds=1)
    study.layers.include("drop", "fc2")
    study.features.include(0)
    trials = study.run(progress=False).trials().set_index("arm")
    base, order = seen[None]
    for name, (start, others) in seen.items():
        assert others == order, name
        for key, value in start.items():
            if base[key].shape == value.shape:
                assert torch.equal(base[key], value), (name, key)
    assert (trials.common == trials.equal_start).all()
    assert sorted(order) == list(range(60)) != order


def test_ids_change_with_what_determines_a_trial_and_with_nothing_else(
    make: Make,
) -> None:
    def ids(**options: Any) -> list[str]:
        study = make(ignore=["log_dir"], **options)
        study.layers.include("fc2")
        return [one.id for a in study.results().arms for one in a.trials]

    plain = ids()
    assert len(set(plain)) == 4
    assert ids() == plain
    assert ids(config={**small.CONFIG, "log_dir": "there"}) == plain
    assert not set(ids(config={**small.CONFIG, "lr": 0.5})) & set(plain)
    assert not set(ids(train=small.train_slowly)) & set(plain)
    assert ids(seeds=3)[:2] == plain[:2]


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
    assert "--arms fc2" in other.command and "small.py" in other.command
    assert base.command.endswith("--again")


def test_curves_and_provenance_are_stored(make: Make) -> None:
    from surgery.study.storage import Storage

    study = make(seeds=1)
    results = study.run(progress=False)
    with Storage(study.folder) as storage:
        curve = storage.curve(results.arms[0].trials[0].id)
    assert [step for step, _ in curve["loss"]] == [0, 1, 2]
    runs: Any = results.provenance["runs"]
    assert runs[0]["versions"]["torch"]
    assert runs[0]["config"][""]["lr"] == 0.01
    assert {"commit", "diff", "command"} <= set(runs[0])


def test_contexts_repeat_the_arms(make: Make) -> None:
    study = make(seeds=1)
    study.layers.include("fc2")
    study.contexts(tiny={**small.CONFIG, "width": 4}, base=small.CONFIG)
    results = study.run(progress=False)
    assert {(r.context, r.arm) for r in results} == {("tiny", "fc2"), ("base", "fc2")}


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


def test_an_arm_that_comes_out_as_the_base_to_the_last_bit_is_noted(make: Make) -> None:
    config = {**small.CONFIG, "unused": 1}
    study = make(config=config)
    study.factors.include("unused", off=2)
    study.layers.include("fc2")
    notes = str(study.run(progress=False).provenance["notes"])
    assert "unused gave the same metrics as base" in notes
    assert "fc2 gave" not in notes
