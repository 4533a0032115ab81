"""`surgery demo titanic`: a whole study, from its plan to what it found."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import surgery
from surgery.demos._titanic_study import (
    CONFIG,
    SEEDS,
    make_data,
    make_model,
    make_study,
    tensors,
    train,
)
from surgery.demos._told import heading, say_where
from surgery.study import Comparison, Reporter, StudyResults


def run_titanic(
    out: str | Path = "runs/titanic",
    *,
    seeds: int | None = None,
    workers: int = 1,
    **config: object,
) -> StudyResults:
    """Leaves features, layers, groups of them and the hidden layers out, over seeds.

    Everything goes to `out`; what is done there already is not run again.

    Args:
        seeds: How many; by default 8.
        workers: Processes that trials run in.
        config: Other values of the study's config.
    """
    folder = Path(out)
    seeds = seeds or SEEDS
    study = make_study(folder, seeds, **config)
    print(study.plan())
    results = study.run(workers=workers)
    print(
        heading(
            "Who survived the Titanic, from class, sex and age: 2,201 people, a quarter"
            f" of them for testing, another quarter with each of {seeds} seeds. Every "
            "row trains anew without one thing."
        )
    )
    print(results)
    print(f"\n{results.expectations()}")
    print(f"\n{results.joint()}")
    print(f"\n{results.costs()}")
    print(heading("Does it show in the trained model already, without retraining?"))
    print(_compared(results, folder))
    results.save(folder / "results.json")
    results.to_tensorboard(folder / "summary")
    say_where(folder)
    return results


def _compared(results: StudyResults, folder: Path) -> Comparison:
    """The study's layers against a ranking of one trained base model."""
    data = make_data(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make_model(CONFIG, ())
        quiet = Reporter("", folder, lambda logged: "")
        train(model, data, CONFIG, "cpu", quiet)
    x, y = tensors(data["test"])
    ranking = surgery.rank(
        model.eval(),
        (x, y),
        ["fc2", "fc3", "fc4", ["fc2", "fc4"], ["fc2", "fc3", "fc4"]],
        mode="identity",
        metric=each,
        higher_is_better={"accuracy": True, "log_loss": False},
        progress=False,
    )
    ranking.save(folder / "ranking.json")
    return results.compare(ranking, "log_loss")


def each(logits: Tensor, survived: Tensor) -> dict[str, Tensor]:
    """The metrics that are means over people, person by person."""
    return {
        "accuracy": ((logits > 0) == (survived > 0.5)).float(),
        "log_loss": F.binary_cross_entropy_with_logits(
            logits, survived, reduction="none"
        ),
    }
