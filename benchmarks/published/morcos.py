"""Morcos et al. 2018: nets that memorise lean on single units more than others."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure

import surgery
from benchmarks.published.claim import Claim, Criterion, Measured, Script
from benchmarks.published.groups import along, column_means, random_orders
from benchmarks.published.models import DenseShape
from benchmarks.published.plots import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    RED,
    labels,
    lines,
    panels,
)
from benchmarks.published.training import Recipe, obtain
from surgery.stats import rank_agreement

CLAIM = Claim(
    name="morcos",
    paper="Morcos, Barrett, Rabinowitz, Botvinick 2018, On the Importance of Single "
    "Directions for Generalization, arXiv:1803.06959",
    says="Of nets that fit their training data alike, those trained on more random "
    "labels lose accuracy sooner when units are ablated.",
    here="A fully connected net of 3 x 128, trained until it fits, on labels of which "
    "0, 25, 50, 75 or 100 % are random; more and more units of all layers set to zero "
    "in 5 random orders; accuracy on the training images.",
    criteria=(
        Criterion(
            "fit",
            "accuracy on the training images, lowest of all nets",
            "at least",
            0.97,
        ),
        Criterion(
            "area_gap",
            "area under the curve, true labels minus random ones",
            "at least",
            0.1,
        ),
        Criterion(
            "order", "Spearman of the share of random labels and area", "at most", -0.9
        ),
    ),
)


@dataclass(frozen=True)
class Setup:
    """The net, the shares of random labels, how many units go, and random orders."""

    recipe: Recipe
    random_labels: tuple[float, ...]
    steps: int
    draws: int


FULL = Setup(
    Recipe(DenseShape(layers=3, width=128), epochs=300, lr=2e-3, optimizer="adamw"),
    random_labels=(0.0, 0.25, 0.5, 0.75, 1.0),
    steps=10,
    draws=5,
)
TINY = Setup(
    Recipe(
        DenseShape(layers=2, width=8), epochs=2, lr=2e-3, optimizer="adamw", images=128
    ),
    random_labels=(0.0, 1.0),
    steps=4,
    draws=2,
)


def measure(setup: Setup, seed: int, folder: Path) -> Measured:
    """The curve of every net."""
    fits: list[float] = []
    areas: list[float] = []
    curves: dict[str, list[float]] = {}
    for share in setup.random_labels:
        recipe = replace(setup.recipe, random_labels=share)
        net = obtain(recipe, seed, folder)
        fits.append(net.accuracy(net.train))
        parts = surgery.components(net.model, net.train[0][0][:2], kinds=["channel"])
        units = [part.name for part in parts if part.name.startswith("layers.")]
        counts = [len(units) * i // setup.steps for i in range(setup.steps)]
        orders = random_orders(units, setup.draws, seed)
        curve = column_means(along(net.model, net.train, orders, counts))
        curves[f"{share:g}"] = curve
        areas.append(statistics.mean(curve))
    return Measured(
        seed,
        {
            "fit": min(fits),
            "area_gap": areas[0] - areas[-1],
            "order": rank_agreement(setup.random_labels, areas).rho,
        },
        curves,
    )


def draw(found: Sequence[Measured]) -> Figure:
    """A line for each share of random labels."""
    figure, (axes,) = panels("units of all layers set to zero", width=5.6)
    colors = (BLUE, GREEN, ORANGE, RED, PURPLE)
    for place, (share, curve) in enumerate(found[0].curves.items()):
        shares = [i / len(curve) for i in range(len(curve))]
        seeds = [m.curves[share] for m in found]
        name = f"{100 * float(share):.0f} % random labels"
        lines(axes, shares, seeds, colors[place % 5], name, mark="osD^v"[place % 5])
    axes.set_ylim(0, 1.03)
    labels(axes, "share of units ablated", "accuracy on the training images")
    return figure


SCRIPT = Script(CLAIM, FULL, TINY, measure, draw)
