"""A tiny case through the whole harness: every way gives the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.sweep.config import Case
from benchmarks.sweep.folder import make_folder, make_loader
from benchmarks.sweep.measure import Settings, measure
from benchmarks.sweep.memory import Held
from benchmarks.sweep.models import make_inputs, make_model
from benchmarks.sweep.ours import ours
from benchmarks.sweep.parts import parts_of, zero_features

SETTINGS = Settings(2, 60.0, "cpu", "contiguous", throughput=1e9)
TINY = Case("tiny", "branches", 32, 2)


def test_every_way_gives_what_the_tuned_loop_gives() -> None:
    rows, rounds = measure(TINY, ["tuned", *ours(), "captum"], SETTINGS)
    by = {row.way: row for row in rows}
    assert rounds == 2
    for name in ("tuned", "hooks", "replay", "fused"):
        assert by[name].why_not == ""
        assert not by[name].agrees.startswith("no"), by[name]
    fused, tuned = by["fused"].flops, by["tuned"].flops
    assert fused is not None and tuned is not None
    assert fused == pytest.approx(1.0, abs=0.02)
    assert tuned > 1.2
    if by["captum"].why_not:
        assert "make bench-peers" in by["captum"].why_not


def test_a_folder_is_ranked_to_the_accuracies_of_the_usual_loop() -> None:
    case = Case("tiny", "branches", 32, 2, images=6)
    rows, _ = measure(case, [], SETTINGS)
    ways = {row.way for row in rows}
    assert {"usual", "tuned", "rank, hooks", "rank, fused", "rank, auto"} <= ways
    for row in rows:
        assert row.agrees == "equal", row


def test_a_folder_has_the_images_and_classes_that_an_image_folder_reads(
    tmp_path: Path,
) -> None:
    case = Case("tiny", "branches", 32, 4, images=10)
    loader = make_loader(case, make_folder(case, tmp_path))
    batches = list(loader)
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    assert batches[0][0].shape == (4, 3, 32, 32)
    assert torch.cat([labels for _, labels in batches]).unique().numel() == 10
    assert loader.per_batch() > 0
    assert loader.per_batch() == 0  # forgotten


@pytest.mark.parametrize("kind", ["branches", "skips", "leaves"])
def test_every_part_changes_the_outputs_and_is_put_back(kind: str) -> None:
    model, x = make_model(TINY), make_inputs(TINY)
    with torch.no_grad():
        before = model(x)
        found = parts_of(model, "tiny", kind, x)
        assert found
        for part in found:
            undo = part.cut(model)
            changed = not torch.equal(model(x), before)
            undo()
            assert changed or part.path in ("drop_block", "aa"), part
            assert torch.equal(model(x), before)


def test_features_of_a_head_are_zeroed_in_a_copy() -> None:
    x = torch.ones(2, 6)
    found = zero_features(x, (2, 4))
    assert found.tolist()[0] == [1, 1, 0, 0, 1, 1]
    assert bool(x.all())


def test_bytes_are_counted_while_any_tensor_has_them() -> None:
    x = torch.zeros(100)
    with Held() as held:
        a = x + 1
        view = a[:50]
        del a
        b = view * 2
        b.add_(1)
        assert held.now == 400 + 200
        del view
        assert held.now == 200
        del b
    assert held.now == 0
    assert held.peak == 600
