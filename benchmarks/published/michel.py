"""Michel et al. 2019: most attention heads can go, a good share of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from torch import nn

import surgery
from benchmarks.published.claim import Claim, Criterion, Measured, Script
from benchmarks.published.groups import (
    accuracy_without,
    along,
    column_means,
    random_orders,
)
from benchmarks.published.plots import BLUE, GREY, RED, labels, lines, panels
from benchmarks.published.training import (
    TINY_TRANSFORMER,
    TRANSFORMER,
    Batches,
    Recipe,
    obtain,
)

LITTLE = 0.02

CLAIM = Claim(
    name="michel",
    paper="Michel, Levy, Neubig 2019, Are Sixteen Heads Really Better than One?, "
    "arXiv:1905.10650",
    says="Most heads can each be removed without a significant loss; 20 to 40 % can "
    "go together, in the order of a gradient-based importance; most layers do with "
    "one head.",
    here="A vision transformer of 12 blocks with 4 heads each; importance from the "
    "gradient by each head's gate on the training images (the root mean square over "
    'samples, method="fisher", where the paper takes the mean absolute value); all '
    "else on unseen images; 10 random orders.",
    criteria=(
        Criterion("accuracy", "accuracy of the transformer", "at least", 0.95),
        Criterion(
            "insignificant",
            "share of heads without which accuracy is not clearly lower (Holm)",
            "at least",
            0.8,
        ),
        Criterion(
            "prunable",
            f"share of heads that go together, in order, for at most {LITTLE}",
            "at least",
            0.4,
        ),
        Criterion(
            "order_gain",
            "accuracy in that order minus that of random orders, mean over shares",
            "at least",
            0.05,
        ),
        Criterion(
            "single_head",
            f"share of layers that keep one head for at most {LITTLE}",
            "at least",
            0.5,
        ),
    ),
)


@dataclass(frozen=True)
class Setup:
    """The transformer, in how many steps heads go, and random orders."""

    recipe: Recipe
    steps: int
    draws: int


FULL = Setup(TRANSFORMER, steps=12, draws=10)
TINY = Setup(TINY_TRANSFORMER, steps=4, draws=2)
HEADS = "blocks.*.attn:head#*"


def measure(setup: Setup, seed: int, folder: Path) -> Measured:
    """Each head, all but one of each layer, and more and more of all."""
    net = obtain(setup.recipe, seed, folder)
    scores = surgery.sensitivity(
        net.model,
        net.train,
        HEADS,
        method="fisher",
        metric="cross_entropy",
        check=0,
        progress=False,
    )
    order = [row.component for row in sorted(scores, key=lambda row: row.score)]
    singly = surgery.rank(net.model, net.test, HEADS, progress=False)
    base = singly.rows[0].baseline
    step = len(order) // setup.steps
    counts = [step * i for i in range(setup.steps)]
    (ordered,) = along(net.model, net.test, [order], counts)
    randomly = along(
        net.model, net.test, random_orders(order, setup.draws, seed), counts
    )
    chance = column_means(randomly)
    best = _best_single_heads(net.model, net.test, order)
    shares = [count / len(order) for count in counts]
    fine = [s for s, a in zip(shares, ordered, strict=True) if base - a <= LITTLE]
    gains = [a - b for a, b in zip(ordered, chance, strict=True)]
    important = sum(row.verdict == "important" for row in singly)
    return Measured(
        seed,
        {
            "accuracy": base,
            "insignificant": 1 - important / len(order),
            "prunable": max(fine, default=0.0),
            "order_gain": sum(gains[1:]) / len(gains[1:]),
            "single_head": sum(base - a <= LITTLE for a in best) / len(best),
        },
        {
            "singly": sorted(row.value for row in singly),
            "shares": shares,
            "ordered": ordered,
            "random": chance,
            "single_head": best,
        },
    )


def _best_single_heads(
    model: nn.Module, data: Batches, heads: Sequence[str]
) -> list[float]:
    """Accuracy of each layer with the one head that does best alone."""
    layers: dict[str, list[str]] = {}
    for head in sorted(heads):
        layers.setdefault(head.partition(":")[0], []).append(head)
    sets = [
        [other for other in members if other != head]
        for members in layers.values()
        for head in members
    ]
    found = iter(accuracy_without(model, data, sets))
    return [max(next(found) for _ in members) for members in layers.values()]


def draw(found: Sequence[Measured]) -> Figure:
    """Single heads, more and more heads, layers with one head."""
    figure, (one, more, single) = panels(
        "without one head", "without a share of all heads", "one head per layer"
    )
    singly = [m.curves["singly"] for m in found]
    lines(one, range(len(singly[0])), singly, BLUE, "")
    shares = found[0].curves["shares"]
    lines(more, shares, [m.curves["ordered"] for m in found], BLUE, "by importance")
    chance = [m.curves["random"] for m in found]
    lines(more, shares, chance, RED, "at random (mean)", mark="s")
    more.axvline(0.4, color=GREY, linewidth=0.8, linestyle=":")
    kept = [m.curves["single_head"] for m in found]
    lines(single, range(len(kept[0])), kept, BLUE, "")
    labels(one, "head, sorted", "accuracy")
    labels(more, "share removed", "accuracy")
    labels(single, "layer", "accuracy, best head only")
    for axes in (one, more, single):
        axes.set_ylim(0, 1.03)
    return figure


SCRIPT = Script(CLAIM, FULL, TINY, measure, draw)
