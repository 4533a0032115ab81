"""Fresh copies, samples left out, put in, and put together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from surgery.data import (
    call_on_batch,
    call_on_inputs,
    fresh,
    join_batches,
    keep_batch,
    put_samples,
)


def test_a_fresh_copy_can_be_changed_at_any_depth() -> None:
    array = np.zeros(2)
    batch: dict[str, Any] = {"x": [torch.zeros(2), (torch.zeros(2), array)], "n": 3}
    copy = fresh(batch)
    copy["x"][0] += 1
    copy["x"][1][0].add_(1)
    copy["x"][1][1][:] = 1
    copy.pop("n")
    assert batch["n"] == 3
    assert not batch["x"][0].any() and not batch["x"][1][0].any() and not array.any()


def test_a_pair_of_lists_of_two_loses_a_sample_of_each() -> None:
    images = [torch.zeros(3, 4, 5), torch.ones(3, 6, 7)]
    kept = keep_batch((images, ["a", "b"]), torch.tensor([False, True]))
    assert [image.shape for image in kept[0]] == [(3, 6, 7)]
    assert kept[1] == ["b"]


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"a": x}, lambda x: (x, x)])
def test_samples_are_put_where_the_mask_is_true(wrap: Any) -> None:
    into = torch.zeros(4, 2)
    mask = torch.tensor([True, False, False, True])
    changed = put_samples(wrap(into), mask, wrap(torch.tensor([[1.0, 1], [2, 2]])))
    first = changed
    while not isinstance(first, Tensor):
        first = first["a"] if isinstance(first, dict) else first[0]
    assert first[:, 0].tolist() == [1, 0, 0, 2]
    assert not into.any()


def test_samples_of_a_list_of_mappings_are_put_in_whole() -> None:
    into = [{"boxes": torch.zeros(n, 4)} for n in (1, 2, 3)]
    given = [{"boxes": torch.ones(5, 4)}]
    changed = put_samples(into, torch.tensor([False, True, False]), given)
    assert [len(item["boxes"]) for item in changed] == [1, 5, 3]


def test_two_batches_become_one() -> None:
    first = {"x": torch.zeros(3, 2), "labels": np.array([0, 1, 2]), "name": "train"}
    second = {"x": torch.ones(1, 2), "labels": np.array([3]), "name": "train"}
    joined = join_batches(first, second)
    assert joined["x"].shape == (4, 2)
    assert joined["labels"].tolist() == [0, 1, 2, 3]
    assert joined["name"] == "train"
    pair = join_batches((torch.zeros(2, 1), [5, 6]), (torch.zeros(1, 1), [7]))
    assert pair[0].shape == (3, 1) and pair[1] == [5, 6, 7]


class Sum(nn.Module):
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return x if y is None else x + y


def test_inputs_become_the_call_they_stand_for() -> None:
    x, labels = torch.ones(3, 2), torch.zeros(3)
    model = Sum()
    assert torch.equal(call_on_inputs(model, x), x)
    for two in ((x, x), {"x": x, "y": x}):
        assert torch.equal(call_on_inputs(model, two), 2 * x)
    # What a DataLoader makes of a tuple is a list; the labels tell it from samples.
    assert torch.equal(call_on_inputs(model, [x, x], labels), 2 * x)


@pytest.mark.parametrize(
    "batch",
    [
        torch.ones(3, 2),
        (torch.ones(3, 2), torch.zeros(3)),
        {"x": torch.ones(3, 2), "labels": torch.zeros(3)},
        {"x": torch.ones(3, 2)},
    ],
    ids=["tensor", "pair", "mapping", "mapping without labels"],
)
def test_a_batch_is_run_without_its_labels(batch: Any) -> None:
    assert torch.equal(call_on_batch(Sum(), batch), torch.ones(3, 2))
