"""Men et al. 2024 (ShortGPT): what turns the stream least is missed least."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

import surgery
from benchmarks.published.claim import Claim, Criterion, Measured, Script
from benchmarks.published.groups import along, column_means, random_orders
from benchmarks.published.plots import BLUE, GREEN, GREY, RED, labels, lines, panels
from benchmarks.published.training import (
    TINY_TRANSFORMER,
    TRANSFORMER,
    Recipe,
    obtain,
)
from surgery.stats import rank_agreement

CLAIM = Claim(
    name="shortgpt",
    paper="Men et al. 2024, ShortGPT: Layers in Large Language Models are More "
    "Redundant Than You Expect, arXiv:2403.03853",
    says="Blocks of low influence (1 - cosine of what goes in and what comes out) can "
    "be removed: without a quarter of the blocks about nine tenths of the quality is "
    "left, more than by other choices.",
    here="The vision transformer of 12 blocks; influence on the training images "
    '(method="influence"), removal (mode="identity") judged on unseen images, against '
    "20 random orders.",
    criteria=(
        Criterion("accuracy", "accuracy of the transformer", "at least", 0.95),
        Criterion(
            "kept",
            "accuracy without the lowest quarter, of that with all",
            "at least",
            0.9,
        ),
        Criterion(
            "beaten",
            "share of random quarters that leave less accuracy",
            "at least",
            0.8,
        ),
        Criterion(
            "gain",
            "accuracy by influence minus that at random, mean over 1 to 6 blocks",
            "at least",
            0.05,
        ),
        Criterion(
            "spearman",
            "Spearman of influence and the loss that a block's removal adds",
            "at least",
            0.3,
        ),
    ),
)


@dataclass(frozen=True)
class Setup:
    """The transformer and the random orders."""

    recipe: Recipe
    draws: int


FULL = Setup(TRANSFORMER, draws=20)
TINY = Setup(TINY_TRANSFORMER, draws=2)
BLOCKS = "blocks.*"


def measure(setup: Setup, seed: int, folder: Path) -> Measured:
    """Influence of every block, and what is left without more and more of them."""
    net = obtain(setup.recipe, seed, folder)
    scores = surgery.sensitivity(
        net.model, net.train, BLOCKS, method="influence", check=0, progress=False
    )
    influence = {row.component: row.score for row in scores}
    alone = surgery.rank(
        net.model,
        net.test,
        BLOCKS,
        mode="identity",
        metric="cross_entropy",
        progress=False,
    )
    harm = {row.component: row.delta for row in alone}
    blocks = [f"blocks.{i}" for i in range(len(influence))]
    order = sorted(blocks, key=influence.__getitem__)
    orders = [order, *random_orders(blocks, setup.draws, seed)]
    counts = range(len(blocks) // 2 + 1)
    chosen, *randomly = along(net.model, net.test, orders, counts, mode="identity")
    chance = column_means(randomly)
    quarter = len(blocks) // 4
    gains = [a - b for a, b in zip(chosen, chance, strict=True)]
    pairs = [influence[b] for b in blocks], [harm[b] for b in blocks]
    return Measured(
        seed,
        {
            "accuracy": chosen[0],
            "kept": chosen[quarter] / chosen[0],
            "beaten": statistics.mean(r[quarter] < chosen[quarter] for r in randomly),
            "gain": statistics.mean(gains[1:]),
            "spearman": rank_agreement(*pairs).rho,
        },
        {
            "influence": pairs[0],
            "harm": pairs[1],
            "chosen": chosen,
            "random": chance,
            "worst": [min(column) for column in zip(*randomly, strict=True)],
            "best": [max(column) for column in zip(*randomly, strict=True)],
        },
    )


def draw(found: Sequence[Measured]) -> Figure:
    """Influence and harm along the depth, and accuracy over the number removed."""
    figure, (depth, harm, removed) = panels(
        "influence of blocks", "loss added without the block", "blocks removed"
    )
    blocks = range(len(found[0].curves["influence"]))
    lines(depth, blocks, [m.curves["influence"] for m in found], GREEN, "")
    lines(harm, blocks, [m.curves["harm"] for m in found], RED, "")
    counts = range(len(found[0].curves["chosen"]))
    chosen = [m.curves["chosen"] for m in found]
    for one in found:
        removed.fill_between(
            counts, one.curves["worst"], one.curves["best"], color=GREY, alpha=0.12
        )
    lines(removed, counts, chosen, BLUE, "least influence")
    chance = [m.curves["random"] for m in found]
    lines(removed, counts, chance, RED, "at random: mean, range", mark="s")
    depth.set_yscale("log")
    harm.set_yscale("symlog", linthresh=0.01)
    removed.set_ylim(0, 1.03)
    labels(depth, "block", "1 - cosine")
    labels(harm, "block", "cross-entropy added")
    labels(removed, "how many of 12", "accuracy")
    return figure


SCRIPT = Script(CLAIM, FULL, TINY, measure, draw)
