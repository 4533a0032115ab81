"""A whole study: what is run, found, and told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import surgery
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


def test_an_arm_that_comes_out_as_the_base_to_the_last_bit_is_noted(make: Make) -> None:
    config = {**small.CONFIG, "unused": 1}
    study = make(config=config)
    study.factors.include("unused", off=2)
    study.layers.include("fc2")
    notes = str(study.run(progress=False).provenance["notes"])
    assert "unused gave the same metrics as base" in notes
    assert "fc2 gave" not in notes
