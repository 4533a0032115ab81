"""`surgery demo synthetic`: a task whose truth is known first, then real images."""

from __future__ import annotations

from pathlib import Path

from surgery.demos._sweep import sweep_tables
from surgery.demos._synthetic_study import NOISES, SEEDS, Tier, make_study
from surgery.demos._told import heading, say_where
from surgery.study import StudyResults

TIERS: tuple[Tier, ...] = ("synthetic", "digits")


def run_synthetic(
    out: str | Path = "runs/synthetic",
    *,
    seeds: int | None = None,
    workers: int = 1,
    noises: tuple[float, ...] = NOISES,
    **config: object,
) -> dict[str, StudyResults]:
    """Freezes one of two decoupled heads while noise grows, on two tiers of data.

    Everything goes to `out`, a folder per tier; what is done is not run again.

    Args:
        seeds: How many; by default 4.
        workers: Processes that trials run in.
        noises: Levels of noise, ascending.
        config: Other values of the study's config.
    """
    folder = Path(out)
    seeds = seeds or SEEDS
    found: dict[str, StudyResults] = {}
    for tier in TIERS:
        study = make_study(folder / tier, tier, seeds=seeds, noises=noises, **config)
        found[tier] = study.run(workers=workers)
        found[tier].save(folder / tier / "results.json")
        found[tier].to_tensorboard(folder / tier / "summary")
    print(
        heading(
            "Sequences of segments, each of one of ten classes. One head says the "
            "class of every frame, the other where segments begin; they share no "
            "parameter. Frames are orthogonal embeddings (synthetic), or handwritten "
            f"digits (digits); noise is added to both. {seeds} seeds."
        )
    )
    print("\n\n".join(map(str, sweep_tables(list(found.items()), noises))))
    for tier in TIERS:
        say_where(folder / tier)
    return found
