"""Rankings of parts and of inputs, against what others compute."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import timm
import torch
from sklearn.datasets import load_diabetes
from sklearn.inspection import permutation_importance
from sklearn.neural_network import MLPRegressor
from torch import Tensor, nn

import surgery
from surgery.errors import OperationError

Pair = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def fitted() -> tuple[MLPRegressor, Any, Any]:
    """A regressor of scikit-learn's, on data in no particular order."""
    x, y = load_diabetes(return_X_y=True)
    x, y = (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()
    settings: dict[str, Any] = {"solver": "lbfgs", "alpha": 10.0, "max_iter": 2000}
    model = MLPRegressor(hidden_layer_sizes=(16,), random_state=0, **settings)
    return model.fit(x, y), x, y


def as_torch(regressor: MLPRegressor) -> nn.Module:
    layers: list[nn.Module] = []
    for weight, bias in zip(regressor.coefs_, regressor.intercepts_, strict=True):
        layer = nn.Linear(*weight.shape).double()
        layer.load_state_dict(
            {"weight": torch.from_numpy(weight.T), "bias": torch.from_numpy(bias)}
        )
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1], nn.Flatten(0)).eval()


def test_features_resampled_are_scikit_learns_permutation_importance(
    fitted: tuple[MLPRegressor, Any, Any],
) -> None:
    regressor, x, y = fitted
    theirs: Any = permutation_importance(
        regressor, x, y, scoring="neg_mean_squared_error", n_repeats=50, random_state=0
    )
    model, data = as_torch(regressor), (torch.from_numpy(x), torch.from_numpy(y))
    draws = [
        surgery.rank(
            model,
            data,
            "input:feature#*",
            mode="resample",
            metric="mse",
            seed=seed,
            progress=False,
        )
        for seed in range(8)
    ]
    ours = np.array([by_feature(ranking, x.shape[1]) for ranking in draws])
    error = theirs.importances_std  # of one permutation
    assert (theirs.importances_mean > 10 * error).any()
    # Each draw lies within the spread of theirs, and so does the mean of all.
    assert (abs(ours - theirs.importances_mean) < 4 * error).all()
    of_means = error * np.sqrt(1 / len(draws) + 1 / 50)
    assert (abs(ours.mean(0) - theirs.importances_mean) < 3 * of_means).all()
    assert ours.std(0, ddof=1) == pytest.approx(error, rel=1)


def by_feature(ranking: surgery.Ranking, features: int) -> list[float]:
    found = {row.component: row.delta for row in ranking}
    return [found[f"input:feature#{i}"] for i in range(features)]


@torch.no_grad()
def accuracy_without_branch(model: Any, block: str, pairs: Pair) -> float:
    """A timm ResNet's forward, edited by hand: one block is only its shortcut."""
    model = copy.deepcopy(model)
    images, labels = pairs
    x = model.maxpool(model.act1(model.bn1(model.conv1(images))))
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        for place, part in enumerate(getattr(model, stage)):
            shortcut = x if part.downsample is None else part.downsample(x)
            dropped = f"{stage}.{place}" == block
            last = part.act3 if hasattr(part, "act3") else part.act2
            x = last(shortcut) if dropped else part(x)
    hits = model.forward_head(x).argmax(1) == labels
    return float(hits.float().mean())


def test_branches_of_a_resnet_are_ranked_in_one_line(
    model: nn.Module, pairs: Pair
) -> None:
    ranking = surgery.rank(model, pairs, "layer*.*:branch", progress=False)
    blocks = ["layer1.0", "layer2.0", "layer3.0", "layer4.0"]
    assert {row.component for row in ranking} == {f"{b}:branch" for b in blocks}
    for row in ranking:
        block = row.component.removesuffix(":branch")
        truth = accuracy_without_branch(model, block, pairs)
        assert row.value == pytest.approx(truth, abs=1e-6)
        assert row.effect == "full"


def test_identity_on_a_skip_is_left_out_where_it_is_the_identity_itself(
    model: nn.Module, pairs: Pair
) -> None:
    targets = ["layer*.*:branch", "layer*.*:skip"]
    with pytest.raises(OperationError, match=r"'identity' makes no sense on layer1.0:"):
        surgery.rank(model, pairs, targets, mode="identity", progress=False)
    ranking = surgery.rank(
        model, pairs, targets, mode="identity", on_error="skip", progress=False
    )
    assert len(ranking) == 7
    skipped: Any = ranking.provenance["skipped"]
    assert [row["component"] for row in skipped] == ["layer1.0:skip"]


def test_heads_and_channels_are_ranked_singly_and_in_ranges() -> None:
    torch.manual_seed(0)
    model: Any = timm.create_model("test_vit", num_classes=5, img_size=32).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    images = torch.randn(20, 3, 32, 32)
    with torch.no_grad():
        labels = model(images).argmax(1)
    targets = [
        "blocks.0.attn:head#*",
        "blocks.1.attn:head#0-1",
        "blocks.1.attn.proj:channel#0-15",
        "blocks.1.mlp.fc1:channel#3",
    ]
    ranking = surgery.rank(
        model, (images, labels), targets, metric="cross_entropy", progress=False
    )
    heads = model.blocks[0].attn.num_heads
    singles = {f"blocks.0.attn:head#{i}" for i in range(heads)}
    assert {row.component for row in ranking} == singles | set(targets[1:])
    rows = {row.component: row for row in ranking}
    for name, change in {
        "blocks.0.attn:head#1": ("blocks.0.attn.proj", slice(32, 64)),
        "blocks.1.attn:head#0-1": ("blocks.1.attn.proj", slice(0, 64)),
    }.items():
        edited = copy.deepcopy(model)
        with torch.no_grad():  # what a head gives is lost where it enters `proj`
            edited.get_submodule(change[0]).weight[:, change[1]] = 0
            truth = nn.functional.cross_entropy(edited(images), labels)
        assert rows[name].value == pytest.approx(float(truth), abs=1e-4)
