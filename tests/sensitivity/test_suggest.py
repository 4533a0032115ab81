"""`suggest` against the model changed by hand."""

from __future__ import annotations

import copy
import importlib.resources
import itertools
import json
from pathlib import Path
from typing import Any

import jsonschema
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
    model: nn.Module, data: Pair, perturb: Any, max_drop: float, **options: Any
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


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        (ops.Prune(structured=True), "prune:structured"),
        (ops.Quantize(per="channel"), "quantize:channel"),
        (ops.Prune(), "prune"),
    ],
)
def test_an_operation_is_called_what_its_name_makes(
    model: Net, pairs: Pair, operation: Any, name: str
) -> None:
    """So that what is verified is what the curves are of."""
    level = (4,) if "quantize" in name else (0.25,)
    found = suggestion(model, pairs, operation, 1.0, levels=level)
    named = suggestion(model, pairs, name, 1.0, levels=level)
    assert found.provenance["perturb"] == name
    assert found.rows == named.rows
    assert found.provenance["drop"] == named.provenance["drop"]


def test_what_a_name_does_not_tell_is_asked_for(model: Net, pairs: Pair) -> None:
    """Pruning along another axis is another thing to verify."""
    inputs = ops.Prune(structured=True, axis=1)
    curves: surgery.Sensitivity = surgery.sensitivity(
        model, pairs, "blocks.*", perturb=inputs, levels=(0.25,), progress=False
    )
    options: dict[str, Any] = {"max_drop": 1.0, "progress": False}
    with pytest.raises(OperationError, match=r"axis=1\), and Prune.*pass the op"):
        curves.suggest(model, pairs, **options)
    with pytest.raises(OperationError, match="pass the operation"):
        curves.suggest(model, pairs, perturb="prune", **options)
    found = curves.suggest(model, pairs, perturb=inputs, **options)
    changed = copy.deepcopy(model)
    for component, share in found.levels.items():
        surgery.ablate(changed, component, ops.Prune(share, structured=True, axis=1))
    with torch.no_grad():
        right = (changed(pairs[0]).argmax(1) == pairs[1]).float().mean()
        before = (model(pairs[0]).argmax(1) == pairs[1]).float().mean()
    drop = float(str(found.provenance["drop"]))
    assert drop == pytest.approx(float(before - right), abs=1e-6)
    with pytest.raises(OperationError, match="tells no channels"):
        kept_channels(found, model)


def test_a_group_is_suggested_together(model: Net, pairs: Pair) -> None:
    group = {"targets": [["blocks.0", "head"], "stem"]}
    found = suggestion(model, pairs, "quantize", 0.1, **group)
    assert set(found.levels) == {"blocks.0 + head", "stem"}
    named = itertools.chain(*bits_by_module(found, model).values())
    assert sorted(named) == ["blocks.0.conv", "head", "stem"]


def test_components_that_share_weights_are_not_suggested_for(
    model: Net, pairs: Pair
) -> None:
    with pytest.raises(OperationError, match=r"blocks and blocks\.0\.conv have param"):
        suggestion(model, pairs, "quantize", 0.1, targets=["blocks", "blocks.0.conv"])


def test_a_weight_in_no_module_is_not_left_out_of_a_list_in_silence(
    model: Net, pairs: Pair
) -> None:
    found = suggestion(model, pairs, "quantize", 1.0, targets=["head.bias", "stem"])
    with pytest.raises(OperationError, match=r"head\.bias has no module.*\.levels"):
        bits_by_module(found, model)


def test_a_suggestion_is_kept_and_shown(
    model: Net, pairs: Pair, tmp_path: Path
) -> None:
    found = suggestion(model, pairs, "quantize", 0.1)
    path = tmp_path / "suggestion.json"
    found.save(path)
    folder = importlib.resources.files("surgery.report") / "schemas"
    schema = json.loads((folder / "suggestion-1.json").read_text())
    jsonschema.validate(json.loads(path.read_text()), schema)
    again = Suggestion.load(path)
    assert again == found and again.verified == found.verified
    assert bits_by_module(again, model) == bits_by_module(found, model)
    columns = ["component", "perturb", "level", "cost", "saved"]
    assert list(found.to_pandas().columns) == columns
    assert len(found.plot().axes[0].get_yticklabels()) == len(found)
    found.to_tensorboard(tmp_path / "runs")
    assert any((tmp_path / "runs").iterdir())


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


class Chain(nn.Module):
    """Convolutions whose channels nobody shares, and two that an add ties."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.one = nn.Conv2d(1, 8, 3, padding=1, bias=False)
            self.two = nn.Conv2d(8, 8, 3, padding=1, bias=False)
            self.three = nn.Conv2d(8, 8, 3, padding=1, bias=False)
            self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.two(self.one(x).relu())
        return self.head((x + self.three(x.relu())).mean((2, 3)))  # type: ignore[no-any-return]


def test_torch_pruning_takes_out_what_was_verified(pairs: Pair) -> None:
    """Channels of zeros, or none: without biases and norms that is the same."""
    pruning = pytest.importorskip("torch_pruning")
    model = Chain().eval()
    found = suggestion(
        model, pairs, "prune:structured", 5.0, targets="one", levels=(0.5,)
    )
    smaller = copy.deepcopy(model)
    graph = pruning.DependencyGraph()
    graph.build_dependency(smaller, example_inputs=pairs[0][:1])
    for name, kept in kept_channels(found, model).items():
        layer = smaller.get_submodule(name)
        gone = sorted(set(range(8)) - set(kept))
        graph.get_pruning_group(layer, pruning.prune_conv_out_channels, gone).prune()
    assert smaller.one.weight.shape == (4, 1, 3, 3)
    assert smaller.two.weight.shape == (8, 4, 3, 3)
    drop = loss(smaller, pairs) - loss(model, pairs)
    assert float(str(found.provenance["drop"])) == pytest.approx(drop, abs=1e-6)


def test_torchao_makes_of_weights_about_what_was_verified(
    model: Net, pairs: Pair
) -> None:
    quantization = pytest.importorskip("torchao.quantization")
    found = suggestion(
        model, pairs, "quantize:channel", 1.0, targets="head", levels=(4,)
    )
    quantized = copy.deepcopy(model)
    for bits, names in bits_by_module(found, model).items():
        config = quantization.IntxWeightOnlyConfig(
            weight_dtype=getattr(torch, f"int{bits}"),
            granularity=quantization.PerAxis(0),
        )
        quantization.quantize_(
            quantized, config, filter_fn=lambda _, name, of=names: name in of
        )
    theirs = quantized.head.weight.dequantize()
    assert type(quantized.head.weight) is not nn.Parameter
    step = model.head.weight.abs().amax(1, keepdim=True) / 7
    with surgery.ablate(model, "head", ops.Quantize(4, per="channel")):
        assert bool(((theirs - model.head.weight).abs() <= step).all())
    assert len({float(x) for x in theirs[0]}) <= 16
