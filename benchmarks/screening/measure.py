"""Exact effects and scores of a trained model; what is found is kept in files."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

import surgery
from benchmarks.screening.cases import DRAWN, SIGNS, Asked, Case
from surgery.demos._demo import obtain
from surgery.demos._train import digits_for
from surgery.sensitivity import Method
from surgery.stats import rank_agreement

LOSS, METRICS = "cross_entropy", ["cross_entropy", "accuracy"]
BATCH = 150
Batches = list[tuple[Tensor, Tensor]]
Kept = TypeVar("Kept", surgery.Ranking, surgery.Scores)


@dataclass(frozen=True)
class Found:
    """How a method's order of components agrees with that of their exact effects.

    Attributes:
        method: Which method.
        seed: Of the trained model.
        n: Components.
        points: Forwards or backwards per batch, where the method takes such.
        loss: Spearman's correlation with the changes of the loss.
        accuracy: Likewise, of accuracy.
    """

    method: Method
    seed: int
    n: int
    points: int | None
    loss: float
    accuracy: float


def measure(
    case: Case, seed: int, methods: tuple[Method, ...], to: Path
) -> list[Found]:
    """Train, take every component out in turn, and score; files are not made again.

    Args:
        case: What is scored.
        seed: Of the training.
        methods: By which methods; those that score nothing here are left out.
        to: The folder of all files.
    """
    recipe = case.recipe
    folder = to / f"{recipe.name}-{recipe.fingerprint()}" / f"seed-{seed}"
    model = obtain(recipe, folder, seed=seed, retrain=False).model
    images, labels = digits_for(recipe, "test")
    data = list(zip(images.split(BATCH), labels.split(BATCH), strict=True))
    found: list[Found] = []
    for method in methods:
        asked = case.asked(method)
        if asked is not None:
            exact = exact_effects(model, data, asked, folder)
            scores = scored(model, data, asked, method, exact, len(labels), folder)
            found.append(compared(scores, exact, method, seed))
    return found


def exact_effects(
    model: nn.Module, data: Batches, asked: Asked, folder: Path
) -> surgery.Ranking:
    """Every component taken out, one after the other."""

    def rank() -> surgery.Ranking:
        return surgery.rank(
            model,
            data,
            list(asked.targets),
            mode=asked.mode,
            metric=METRICS,
            engine=surgery.Engine(backend="replay"),  # no graph for so small a model
        )

    return _kept(folder / f"exact-{_mark(asked)}.json", surgery.Ranking.load, rank)


def scored(
    model: nn.Module,
    data: Batches,
    asked: Asked,
    method: Method,
    exact: surgery.Ranking,
    samples: int,
    folder: Path,
) -> surgery.Scores:
    """The scores that a method gives the same components."""
    options: dict[str, Any] = {}
    if method == "corrected":
        components = len({row.component for row in exact})
        options["points"] = math.ceil(DRAWN * components / samples)
    if method == "hessian":
        options["repeats"] = SIGNS

    def score() -> surgery.Scores:
        return surgery.sensitivity(
            model,
            data,
            list(asked.targets),
            method=method,
            metric=LOSS,
            check=0,
            **options,
        )

    name = "-".join([method, *map(str, options.values()), _mark(asked)]) + ".json"
    return _kept(folder / name, surgery.Scores.load, score)


def compared(
    scores: surgery.Scores, exact: surgery.Ranking, method: Method, seed: int
) -> Found:
    """Spearman's correlations with what the loss gains and what accuracy loses."""
    worse = {
        metric: {r.component: sign * r.delta for r in exact if r.metric == metric}
        for metric, sign in zip(METRICS, (1, -1), strict=True)
    }
    given = {row.component: row.score for row in scores}
    if any(set(given) != set(mine) for mine in worse.values()):
        raise SystemExit(f"{method} did not score the components that were taken out")
    rho = {
        metric: rank_agreement(list(given.values()), [mine[name] for name in given]).rho
        for metric, mine in worse.items()
    }
    points = scores.provenance.get("points")
    return Found(
        method,
        seed,
        len(given),
        points if isinstance(points, int) else None,
        rho["cross_entropy"],
        rho["accuracy"],
    )


def _kept(path: Path, load: Callable[[Path], Kept], make: Callable[[], Kept]) -> Kept:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        make().save(path)
    return load(path)


def _mark(asked: Asked) -> str:
    return hashlib.sha256(repr(asked).encode()).hexdigest()[:8]
