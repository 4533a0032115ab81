"""`surgery demo`: the whole of it on two small models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where weights, results and logs go.")
    ] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(help="Sets everything that is random.")] = 0,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train even if there are weights.")
    ] = False,
) -> None:
    """Train a small ResNet and a small Swin on digits, and rank their parts.

    Takes about a minute on two cores, some seconds the second time, since the
    weights are kept. Nothing is downloaded.
    """
    from surgery.demos import run_demo

    run_demo(out, seed=seed, retrain=retrain)
