"""Attribution patching (AtP): exact where all is linear, a good order elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from matplotlib.figure import Figure
from torch import Tensor, nn

import surgery
from benchmarks.published.claim import Claim, Criterion, Measured, Script
from benchmarks.published.models import LinearShape
from benchmarks.published.plots import BLUE, GREEN, GREY, RED, labels, panels
from benchmarks.published.training import (
    TINY_TRANSFORMER,
    TRANSFORMER,
    Batches,
    Recipe,
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
    "units. The vision transformer: its 48 heads and 12 MLPs.",
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
    remark="Patching is a harder case here than in the paper, whose pairs of inputs "
    "differ in a token, and whose nodes are heads at one position: here all of a "
    "head's output gives way to that for another image. The exact effects are nearly "
    "all harmful, and several times what the slope says, of which one part cancels "
    "over random pairs.",
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


def measure(setup: Setup, seed: int, folder: Path) -> Measured:
    """Estimate and exact effect of every component of both nets."""
    linear = obtain(setup.linear, seed, folder)
    ((images, true),) = linear.test
    x, y = _both(linear.model.double(), [(images.double(), true)], LINEAR, seed)
    error = max(abs(a - b) for a, b in zip(x, y, strict=True)) / max(map(abs, y))
    net = obtain(setup.transformer, seed, folder)
    estimate, exact = _both(net.model, net.test, NODES, seed)
    sizes = list(map(abs, estimate)), list(map(abs, exact))
    return Measured(
        seed,
        {
            "accuracy": net.accuracy(net.test),
            "linear_error": error,
            "spearman": rank_agreement(*sizes).rho,
        },
        {"linear": x, "linear_exact": y, "nodes": estimate, "nodes_exact": exact},
    )


def _both(
    model: nn.Module, data: Batches, targets: Sequence[str], seed: int
) -> tuple[list[float], list[float]]:
    """By one backward pass, and one by one: the check of all components."""
    scores = surgery.sensitivity(
        model,
        data,
        list(targets),
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


def draw(found: Sequence[Measured]) -> Figure:
    """Estimates against exact effects."""
    figure, charts = panels("linear net", "transformer: heads and MLPs")
    for axes, key in zip(charts, ("linear", "nodes"), strict=True):
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
        labels(axes, "exact effect on the logit difference", "estimate")
    return figure


SCRIPT = Script(CLAIM, FULL, TINY, measure, draw)
