"""Zhang et al. 2019: most layers may go back to where they began, not to a new draw."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import colormaps
from matplotlib.figure import Figure

import surgery
from benchmarks.published.claim import Claim, Criterion, Measured, Script
from benchmarks.published.models import DenseShape
from benchmarks.published.plots import BLUE, RED, labels, lines, panels
from benchmarks.published.training import Recipe, obtain
from surgery import ops

ROBUST = 0.05

CLAIM = Claim(
    name="zhang",
    paper="Zhang, Bengio, Singer 2019, Are All Layers Created Equal?, arXiv:1902.01996",
    says="In an overparametrised net most layers can be set back to their own values "
    "of step 0 with little loss, the first being the critical one; drawn anew from "
    "the same distribution, the layers are critical.",
    here="A fully connected net of 5 x 256 trained by SGD; each layer rewound to step "
    "0 (and to later epochs), or drawn anew 5 times.",
    criteria=(
        Criterion("accuracy", "accuracy of the net", "at least", 0.95),
        Criterion(
            "robust",
            f"share of layers that lose at most {ROBUST} at their values of step 0",
            "at least",
            0.5,
        ),
        Criterion(
            "first_more",
            "how much more the first layer loses so than the others on average",
            "at least",
            0.1,
        ),
        Criterion(
            "rerandomised", "accuracy lost by a new draw, median", "at least", 0.3
        ),
        Criterion(
            "never_worse",
            "accuracy at step 0 minus that of a new draw, lowest of all layers",
            "at least",
            -0.02,
        ),
    ),
    remark="The second layer is about as critical as the first here.",
)


@dataclass(frozen=True)
class Setup:
    """The net, and how often a layer is drawn anew."""

    recipe: Recipe
    draws: int


FULL = Setup(
    Recipe(
        DenseShape(layers=5, width=256), epochs=100, lr=0.1, keep=(1, 3, 10, 30, 100)
    ),
    draws=5,
)
TINY = Setup(
    Recipe(DenseShape(layers=2, width=16), epochs=2, lr=0.1, keep=(1,), images=128),
    draws=2,
)


def measure(setup: Setup, seed: int, folder: Path) -> Measured:
    """Every layer at the state of every epoch kept, and drawn anew."""
    net = obtain(setup.recipe, seed, folder)
    targets = ["layers.*", "head"]
    rewound: dict[int, dict[str, float]] = {}
    for epoch, state in sorted(net.states.items()):
        ranking = surgery.rank(
            net.model, net.test, targets, mode=ops.Rewind(state), progress=False
        )
        rewound[epoch] = {row.component: row.value for row in ranking}
    curves = surgery.sensitivity(
        net.model,
        net.test,
        targets,
        perturb="init",
        levels=(1.0,),
        repeats=setup.draws,
        seed=seed,
        progress=False,
    )
    drawn = {row.component: row.value for row in curves}
    layers = [f"layers.{i}" for i in range(len(drawn) - 1)] + ["head"]
    base = curves.rows[0].baseline
    lost = [base - rewound[0][layer] for layer in layers]
    return Measured(
        seed,
        {
            "accuracy": base,
            "robust": sum(x <= ROBUST for x in lost) / len(lost),
            "first_more": lost[0] - statistics.mean(lost[1:]),
            "rerandomised": statistics.median(base - drawn[layer] for layer in layers),
            "never_worse": min(rewound[0][x] - drawn[x] for x in layers),
        },
        {
            "drawn": [drawn[layer] for layer in layers],
            "epochs": sorted(rewound),
            **{
                f"at {epoch}": [values[layer] for layer in layers]
                for epoch, values in rewound.items()
            },
        },
    )


def draw(found: Sequence[Measured]) -> Figure:
    """Both ways beside each other; each layer set back to later and later epochs."""
    figure, (ways, over) = panels("one layer set back or drawn anew", "over training")
    layers = range(len(found[0].curves["drawn"]))
    names = [*(f"{i + 1}" for i in layers[:-1]), "head"]
    lines(ways, layers, [m.curves["at 0"] for m in found], BLUE, "own step 0")
    drawn = [m.curves["drawn"] for m in found]
    lines(ways, layers, drawn, RED, "new draw", mark="s")
    ways.set_xticks(layers, labels=names)
    ways.set_ylim(0, 1.03)
    epochs = [int(epoch) for epoch in found[0].curves["epochs"]]
    for place, name in enumerate(names):
        middle = [
            statistics.median(m.curves[f"at {epoch}"][place] for m in found)
            for epoch in epochs
        ]
        shade = colormaps["viridis"](0.9 * place / len(names))
        over.plot(
            range(len(epochs)), middle, "o-", markersize=4, color=shade, label=name
        )
    over.set_xticks(range(len(epochs)), labels=[str(epoch) for epoch in epochs])
    over.set_ylim(0, 1.03)
    labels(ways, "layer", "accuracy")
    labels(over, "epoch that the layer is set back to", "accuracy, median of seeds")
    return figure


SCRIPT = Script(CLAIM, FULL, TINY, measure, draw)
