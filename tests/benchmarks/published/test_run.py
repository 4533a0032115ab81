"""A script at a size at which it only runs; what is kept, and what is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.published import zhang
from benchmarks.published.__main__ import SCRIPTS, run, write
from benchmarks.published.claim import Measured
from benchmarks.published.groups import accuracy_without, along
from benchmarks.published.models import DenseShape
from benchmarks.published.store import all_kept, keep, kept
from benchmarks.published.training import Recipe, obtain

SMALL = replace(zhang.SCRIPT, full=zhang.TINY)
RECIPE = Recipe(DenseShape(layers=2, width=8), epochs=2, lr=0.1, keep=(1,), images=64)


def test_a_script_measures_every_figure_of_its_criteria(tmp_path: Path) -> None:
    for script in (SCRIPTS["zhang"], SCRIPTS["morcos"]):
        found = script.measure(script.tiny, 0, tmp_path)
        asked = {criterion.figure for criterion in script.claim.criteria}
        assert set(found.figures) == asked
        assert script.draw([found]).axes


@pytest.mark.heavy
@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_runs(name: str, tmp_path: Path) -> None:
    script = SCRIPTS[name]
    found = script.measure(script.tiny, 0, tmp_path)
    asked = {criterion.figure for criterion in script.claim.criteria}
    assert set(found.figures) == asked
    script.draw([found]).savefig(tmp_path / "plot.png")


def test_a_second_run_measures_nothing(tmp_path: Path) -> None:
    run(SMALL, [0, 1], tmp_path, again=False)
    first = all_kept(SMALL, [0, 1], tmp_path)
    assert [measured.seed for measured in first[0]] == [0, 1]
    unable = replace(SMALL, measure=_never)
    run(unable, [0, 1], tmp_path, again=False)
    assert all_kept(unable, [0, 1], tmp_path) == first
    with pytest.raises(AssertionError):
        run(unable, [0], tmp_path, again=True)


def _never(setup: zhang.Setup, seed: int, folder: Path) -> Measured:
    raise AssertionError("measured")


def test_results_of_another_setup_are_not_taken(tmp_path: Path) -> None:
    keep(SMALL, Measured(0, {"accuracy": 1.0}), "today", tmp_path)
    assert kept(SMALL, 0, tmp_path) == (Measured(0, {"accuracy": 1.0}), "today")
    other = replace(SMALL, full=replace(zhang.TINY, draws=3))
    assert kept(other, 0, tmp_path) is None


def test_a_network_is_trained_once_and_the_same_each_time(tmp_path: Path) -> None:
    first = obtain(RECIPE, 0, tmp_path / "a")
    loaded = obtain(RECIPE, 0, tmp_path / "a")
    again = obtain(RECIPE, 0, tmp_path / "b")
    assert sorted(first.states) == [0, 1, 2]
    for other in (loaded, again):
        assert torch.equal(first.test[0][0], other.test[0][0])
        for epoch, state in first.states.items():
            for name, tensor in state.items():
                assert torch.equal(tensor, other.states[epoch][name])
    elsewhere = obtain(RECIPE, 1, tmp_path / "a").states
    assert not torch.equal(elsewhere[0]["head.bias"], first.states[0]["head.bias"])


def test_random_labels_are_drawn_for_training_images_only(tmp_path: Path) -> None:
    plain = obtain(RECIPE, 0, tmp_path)
    lots = obtain(replace(RECIPE, random_labels=1.0), 0, tmp_path)
    assert torch.equal(plain.test[0][1], lots.test[0][1])
    assert torch.equal(plain.train[0][0], lots.train[0][0])
    assert (plain.train[0][1] == lots.train[0][1]).float().mean() < 0.4


def test_accuracy_without_sets_is_that_of_weights_set_to_zero(tmp_path: Path) -> None:
    net = obtain(RECIPE, 0, tmp_path)
    sets = [[], ["layers.0:channel#1", "layers.0:channel#3"], ["layers.1:channel#0"]]
    found = accuracy_without(net.model, net.test, [*sets, sets[1][::-1]])
    for parts, value in zip(sets, found, strict=False):
        net.model.load_state_dict(net.states[2])
        for part in parts:
            path, _, channel = part.partition(":channel#")
            for tensor in net.model.get_submodule(path).parameters():
                tensor.data[int(channel)] = 0
        assert value == pytest.approx(net.accuracy(net.test))
    assert found[3] == found[1]
    net.model.load_state_dict(net.states[2])
    assert along(net.model, net.test, [sets[1]], [0, 2]) == [[found[0], found[1]]]


def test_the_page_has_a_section_and_plots_of_what_is_kept(tmp_path: Path) -> None:
    page, plots = tmp_path / "RESULTS.md", tmp_path / "plots"
    for name, script in SCRIPTS.items():
        if name == "zhang":
            for seed in range(3):
                found = script.measure(script.tiny, seed, tmp_path)
                keep(script, found, "today", tmp_path)
    assert write(tmp_path, page, plots) == 0
    text = page.read_text(encoding="utf-8")
    assert "0 of 7 hold" in text and "today" in text
    assert "### zhang: DOES NOT HOLD" in text
    assert [path.name for path in plots.iterdir()] == ["zhang.png"]
