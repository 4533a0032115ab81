"""`surgery demo synthetic`: a task whose truth is known first, then real images."""

from __future__ import annotations

from pathlib import Path

from surgery.demos._sweep import sweep_tables
from surgery.demos._synthetic_study import NOISES, SEEDS, TIERS, make_study
from surgery.demos._told import heading, say_where
from surgery.study import StudyResults


def run_synthetic(
    out: str | Path = "runs/synthetic",
    *,
    seeds: int | None = None,
    workers: int = 1,
    noises: tuple[float, ...] = NOISES,
    **config: object,
) -> StudyResults:
    """Freezes one of two decoupled heads while noise grows, on two tiers of data.

    Everything goes to `out`; what is done there already is not run again.

    Args:
        seeds: How many; by default 4.
        workers: Processes that trials run in.
        noises: Levels of noise, ascending.
        config: Other values of the study's config.
    """
    folder = Path(out)
    seeds = seeds or SEEDS
    study = make_study(folder, seeds=seeds, noises=noises, **config)
    results = study.run(workers=workers)
    results.save(folder / "results.json")
    results.to_tensorboard(folder / "summary")
    print(
        heading(
            "Sequences of segments, each of one of ten classes. One head says the "
            "class of every frame, the other where segments begin; they share no "
            "parameter. Frames are orthogonal embeddings (synthetic), or handwritten "
            f"digits (digits); noise is added to both. {seeds} seeds."
        )
    )
    print("\n\n".join(map(str, sweep_tables(results, TIERS, noises))))
    say_where(folder)
    return results
