"""Exact effects and scores of a trained model; what is found is kept in files."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
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


@dataclass(frozen=True)
class Subject:
    """A trained model, and the files of it.

    Attributes:
        case: What it is.
        seed: Of its training.
        to: The folder of all files.
    """

    case: Case
    seed: int
    to: Path

    @property
    def folder(self) -> Path:
        """Where its own files are."""
        recipe = self.case.recipe
        name = f"{recipe.name}-{recipe.fingerprint()}"
        return self.to / name / f"seed-{self.seed}"

    @cached_property
    def model(self) -> nn.Module:
        """Trained, or read."""
        return obtain(
            self.case.recipe, self.folder, seed=self.seed, retrain=False
        ).model

    @cached_property
    def data(self) -> list[tuple[Tensor, Tensor]]:
        """Images that it was not trained on."""
        images, labels = digits_for(self.case.recipe, "test")
        return list(zip(images.split(BATCH), labels.split(BATCH), strict=True))

    def exact(self, asked: Asked, make: bool) -> surgery.Ranking | None:
        """Every component taken out, one after the other."""

        def rank() -> surgery.Ranking:
            return surgery.rank(
                self.model,
                self.data,
                list(asked.targets),
                mode=asked.mode,
                metric=METRICS,
                engine=surgery.Engine(backend="replay"),  # no graph of a small model
            )

        path = self.folder / f"exact-{_mark(asked)}.json"
        return _kept(path, surgery.Ranking.load, rank if make else None)

    def scores(
        self, asked: Asked, method: Method, exact: surgery.Ranking, make: bool
    ) -> surgery.Scores | None:
        """The scores that a method gives the same components."""
        options: dict[str, Any] = {}
        if method == "corrected":
            components = len({row.component for row in exact})
            samples = max(row.n for row in exact)
            options["points"] = math.ceil(DRAWN * components / samples)
        if method == "hessian":
            options["repeats"] = SIGNS

        def score() -> surgery.Scores:
            return surgery.sensitivity(
                self.model,
                self.data,
                list(asked.targets),
                method=method,
                metric=LOSS,
                check=0,
                **options,
            )

        name = "-".join([method, *map(str, options.values()), _mark(asked)])
        path = self.folder / f"{name}.json"
        return _kept(path, surgery.Scores.load, score if make else None)


def measure(
    subject: Subject, methods: tuple[Method, ...], *, make: bool = True
) -> list[Found]:
    """Take every component out in turn, and score all of them.

    Args:
        subject: The trained model.
        methods: By which methods; those that score nothing here are left out.
        make: What is in no file; if not, it is left out.
    """
    found: list[Found] = []
    for method in methods:
        asked = subject.case.asked(method)
        exact = None if asked is None else subject.exact(asked, make)
        if asked is None or exact is None:
            continue
        scores = subject.scores(asked, method, exact, make)
        if scores is not None:
            found.append(compared(scores, exact, method, subject.seed))
    return found


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


def _kept(
    path: Path, load: Callable[[Path], Kept], make: Callable[[], Kept] | None
) -> Kept | None:
    if not path.exists():
        if make is None:
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        make().save(path)
    return load(path)


def _mark(asked: Asked) -> str:
    return hashlib.sha256(repr(asked).encode()).hexdigest()[:8]
