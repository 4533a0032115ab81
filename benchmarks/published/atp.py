"""Attribution patching (AtP): exact where all is linear, a good order elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from matplotlib.figure import Figure
from torch import Tensor

import surgery
from benchmarks.published.claim import Claim, Criterion, Measured, Script
from benchmarks.published.models import LinearShape
from benchmarks.published.plots import BLUE, GREEN, GREY, RED, labels, panels
from benchmarks.published.training import (
    TINY_TRANSFORMER,
    TRANSFORMER,
    Recipe,
    Trained,
    obtain,
)
from surgery.stats import rank_agreement

CLAIM = Claim(
    name="atp",
    paper="Kramár, Lieberum, Shah, Nanda 2024, AtP*: An Efficient and Scalable Method "
    "for Localizing LLM Behaviour to Components, arXiv:2403.00745",
    says="One backward pass estimates the effect of patching every component with its "
    "activation on another input: exactly in a linear model, and in transformers well "
    "enough to order them.",
    here="Activations of another image in the place of each component's own "
    '(mode="resample"); the metric is the logit of the label minus the mean of the '
    "others. A linear net of 4 residual blocks in float64: its blocks, branches and "
    "units, by their mean effects. The vision transformer: its 48 heads and 12 MLPs, "
    "by the size of their effects on single pairs: the root mean square over pairs "
    '(for estimates from method="fisher"), where the paper takes the mean absolute '
    "value.",
    criteria=(
        Criterion("accuracy", "accuracy of the transformer", "at least", 0.95),
        Criterion(
            "linear_error",
            "linear net: largest error, of the largest effect",
            "at most",
            1e-9,
        ),
        Criterion(
            "spearman",
            "transformer: Spearman of estimated and exact sizes, heads and MLPs",
            "at least",
            0.8,
        ),
    ),
    remark="A first version took the size of the mean effect over pairs, not the mean "
    "size as the paper's equations do: Spearman was 0.61 in the first seed and the "
    "claim did not hold. Slopes of opposite sign cancel over random pairs, while the "
    "exact effects are nearly all harmful: averaged first, the estimate has lost what "
    "it is to order.",
)


@dataclass(frozen=True)
class Setup:
    """Both nets."""

    linear: Recipe
    transformer: Recipe


FULL = Setup(
    Recipe(LinearShape(blocks=4, width=32), epochs=20, lr=0.02, batch_size=64),
    TRANSFORMER,
)
TINY = Setup(
    Recipe(LinearShape(blocks=2, width=8), epochs=1, lr=0.02, images=128),
    TINY_TRANSFORMER,
)
LINEAR = ("blocks.*", "blocks.*.map", "stem:channel#*", "blocks.*.map:channel#*")
NODES = ("blocks.*.attn:head#*", "blocks.*.mlp")


def logit_difference(logits: Tensor, true: Tensor) -> Tensor:
    """The logit of the label minus the mean of all others: linear in logits."""
    chosen = logits.gather(1, true[:, None])[:, 0]
    return chosen - (logits.sum(1) - chosen) / (logits.shape[1] - 1)


def squared_effect(logits: Tensor, known: tuple[Tensor, Tensor]) -> Tensor:
    """The square of what patching does to a pair, from its label and clean metric."""
    true, clean = known
    return (logit_difference(logits, true) - clean) ** 2


def measure(setup: Setup, seed: int, folder: Path) -> Measured:
    """Estimate and exact effect of every component of both nets."""
    linear = obtain(setup.linear, seed, folder)
    x, y = _means(linear, seed)
    error = max(abs(a - b) for a, b in zip(x, y, strict=True)) / max(map(abs, y))
    net = obtain(setup.transformer, seed, folder)
    estimate, exact = _sizes(net, seed)
    return Measured(
        seed,
        {
            "accuracy": net.accuracy(net.test),
            "linear_error": error,
            "spearman": rank_agreement(estimate, exact).rho,
        },
        {"linear": x, "linear_exact": y, "nodes": estimate, "nodes_exact": exact},
    )


def _means(net: Trained, seed: int) -> tuple[list[float], list[float]]:
    """By one backward pass, and one by one: the check of all components."""
    ((images, true),) = net.test
    scores = surgery.sensitivity(
        net.model.double(),
        [(images.double(), true)],
        list(LINEAR),
        method="taylor",
        mode="resample",
        metric=logit_difference,
        higher_is_better=True,
        check=10_000,
        seed=seed,
        progress=False,
    )
    checked = cast("list[dict[str, Any]]", scores.check["components"])
    return [c["score"] for c in checked], [c["exact"] for c in checked]


def _sizes(net: Trained, seed: int) -> tuple[list[float], list[float]]:
    """Root mean squares over pairs: of the slopes, and of the exact effects."""
    scores = surgery.sensitivity(
        net.model,
        net.test,
        list(NODES),
        method="fisher",
        mode="resample",
        metric=logit_difference,
        higher_is_better=True,
        check=0,
        seed=seed,
        progress=False,
    )
    slopes = {score.component: (2 * score.score) ** 0.5 for score in scores}
    ((images, true),) = net.test
    with torch.no_grad():
        clean = logit_difference(net.model(images), true)
    ranking = surgery.rank(
        net.model,
        [(images, (true, clean))],
        list(NODES),
        mode="resample",
        metric=squared_effect,
        higher_is_better=False,
        seed=seed,
        progress=False,
    )
    exact = {row.component: row.value**0.5 for row in ranking}
    names = sorted(exact)
    return [slopes[name] for name in names], [exact[name] for name in names]


def draw(found: Sequence[Measured]) -> Figure:
    """Estimates against exact effects."""
    figure, charts = panels("linear net", "transformer: heads and MLPs")
    sides = ("effect", "root mean square of effects")
    for axes, key, what in zip(charts, ("linear", "nodes"), sides, strict=True):
        for place, one in enumerate(found):
            axes.plot(
                one.curves[f"{key}_exact"],
                one.curves[key],
                "o",
                markersize=3,
                alpha=0.6,
                color=(BLUE, RED, GREEN)[place % 3],
                label=f"seed {one.seed}",
            )
        axes.axline((0, 0), slope=1, color=GREY, linewidth=0.8, linestyle="--")
        labels(axes, f"exact {what} on the logit difference", "estimate")
    return figure


SCRIPT = Script(CLAIM, FULL, TINY, measure, draw)
