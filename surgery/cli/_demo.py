"""`surgery demo`: a ranking, or a whole study, on what is made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

Which: TypeAlias = Literal["ranking", "titanic", "synthetic"]


def demo(
    which: Annotated[
        Which, typer.Argument(help="What is shown.", show_default=True)
    ] = "ranking",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where everything goes; by default below runs/.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="ranking: sets everything that is random.")
    ] = 0,
    retrain: Annotated[
        bool,
        typer.Option("--retrain", help="ranking: train even if there are weights."),
    ] = False,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Studies: how many seeds.", show_default=False),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Studies: processes that trials run in.")
    ] = 1,
) -> None:
    """Show what can be found out, in minutes on two cores; nothing is downloaded.

    ranking: train a small ResNet and a small Swin on digits, and rank their parts.

    titanic: train again and again without a feature, a layer, a group of them, and see
    what is missed; about two minutes.

    synthetic: freeze one of two heads while noise grows, on a task whose truth is known
    and then on images; about three minutes.
    """
    from surgery.demos import run_demo, run_synthetic, run_titanic

    match which:
        case "ranking":
            run_demo(out or Path("runs/demo"), seed=seed, retrain=retrain)
        case "titanic":
            run_titanic(out or Path("runs/titanic"), seeds=seeds, workers=workers)
        case "synthetic":
            run_synthetic(out or Path("runs/synthetic"), seeds=seeds, workers=workers)
