"""`suggest` against the model changed by hand."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import surgery
from surgery import ops
from surgery.errors import OperationError
from surgery.sensitivity import Suggestion, bits_by_module, kept_channels
from surgery.sensitivity._budget import Choice, spend
from tests.sensitivity.conftest import Net

Pair = tuple[Tensor, Tensor]


def suggestion(
    model: nn.Module, data: Pair, perturb: str, max_drop: float, **options: Any
) -> Suggestion:
    targets = options.pop("targets", ["blocks.*", "head"])
    curves: surgery.Sensitivity = surgery.sensitivity(
        model,
        data,
        targets,
        perturb=perturb,
        metric="cross_entropy",
        progress=False,
        **options,
    )
    return curves.suggest(model, data, max_drop=max_drop, progress=False)


@torch.no_grad()
def loss(model: nn.Module, data: Pair) -> float:
    return float(nn.functional.cross_entropy(model(data[0]), data[1]))


@pytest.mark.parametrize("perturb", ["quantize", "prune:structured"])
def test_what_is_verified_is_what_all_changes_cost_together(
    model: Net, pairs: Pair, perturb: str
) -> None:
    found = suggestion(model, pairs, perturb, 0.1)
    changed = copy.deepcopy(model)
    for name, level in found.levels.items():
        operation = (
            ops.Quantize(int(level))
            if perturb == "quantize"
            else ops.Prune(level, structured=True)
        )
        surgery.ablate(changed, name, operation)
    drop = loss(changed, pairs) - loss(model, pairs)
    assert found.rows and found.verified
    assert float(str(found.provenance["drop"])) == pytest.approx(drop, abs=1e-6)
    assert float(str(found.provenance["high"])) <= 0.1
    assert "verified" in str(found)


def test_blocks_that_may_go_are_few_when_little_may_be_lost(
    model: Net, pairs: Pair
) -> None:
    options = {"targets": "blocks.*:branch", "levels": (1.0,)}
    many = suggestion(model, pairs, "dial", 50.0, **options)
    assert len(many) == 3 and many.verified
    few = suggestion(model, pairs, "dial", 0.05, **options)
    assert len(few) < 3 and sum(row.cost for row in few) <= 0.05
    quick = {"targets": "head", "levels": (1.0,)}
    with pytest.raises(OperationError, match="allow more"):
        suggestion(model, pairs, "dial", 1e-9, **quick)


def test_lists_name_modules_and_channels(model: Net, pairs: Pair) -> None:
    bits = suggestion(model, pairs, "quantize", 0.1)
    named = bits_by_module(bits, model)
    assert {"head", "blocks.0.conv"} <= set(itertools.chain(*named.values()))
    with pytest.raises(OperationError, match="tells no channels"):
        kept_channels(bits, model)
    pruned = suggestion(model, pairs, "prune:structured", 0.1)
    for path, kept in kept_channels(pruned, model).items():
        with surgery.ablate(
            model,
            f"{path}.weight",
            ops.Prune(pruned.levels[path.removesuffix(".conv")], structured=True),
        ):
            weight: Any = model.get_submodule(path).weight
            left = weight.detach().flatten(1).norm(dim=1).nonzero().flatten()
        assert kept == left.tolist()


def test_noise_saves_nothing(model: Net, pairs: Pair) -> None:
    with pytest.raises(OperationError, match="makes nothing smaller"):
        suggestion(model, pairs, "noise", 0.1, repeats=1, levels=(0.1,))


def test_a_budget_is_spent_where_it_saves_most() -> None:
    choices = {
        "a": [Choice(1, 0.1, 10), Choice(2, 0.5, 12)],
        "b": [Choice(1, 0.3, 9)],
        "c": [Choice(1, 0.0, 1)],
    }
    chosen = spend(choices, 0.4)
    assert {name: c.level for name, c in chosen.items()} == {"a": 1, "b": 1, "c": 1}
    assert sum(c.cost for c in chosen.values()) <= 0.4
    assert spend({"a": [Choice(1, 2.0, 5)]}, 1.0) == {}
