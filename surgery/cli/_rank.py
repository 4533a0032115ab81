"""`surgery rank`: how much each part of a model matters on some data."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer

import surgery
from surgery.cli import _options as options
from surgery.cli._data import load_data
from surgery.cli._models import load_model

Mode = Literal["zero", "identity", "mean", "resample", "noise", "constant", "reinit"]
Correction = Literal["holm", "bonferroni", "bh", "none"]


def rank(
    model: options.Model,
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help=(
                "digits (handwritten digits, no download), imagefolder:PATH, "
                "npz:PATH (arrays x and y) or package.module:factory. Images are "
                "transformed as the model's own configuration says."
            ),
            show_default=False,
        ),
    ],
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGETS",
            help='What to rank, quoted: "layer*.*" is each block of a ResNet.',
            show_default=False,
        ),
    ],
    mode: Annotated[Mode, typer.Option(help="What is done to each component.")] = (
        "zero"
    ),
    dial: Annotated[
        float, typer.Option(min=0, max=1, help="How far: 1 is full ablation.")
    ] = 1.0,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="accuracy, accuracy@5, cross_entropy, f1:macro, rmse, ... "
            "(repeatable: one pass scores all).",
            show_default="accuracy",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Which part of the data: train, validation, test or all of digits, "
            "a subfolder of imagefolder, x_SPLIT and y_SPLIT of npz.",
            show_default="test for digits",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Use so many samples, drawn by the seed."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 64,
    workers: Annotated[int, typer.Option(min=0, help="Processes that load data.")] = 0,
    input_size: options.InputSize = None,
    pretrained: options.Pretrained = False,
    checkpoint: options.Checkpoint = None,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda, cuda:1, mps, ...", show_default="the model's"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Sets everything that is random.")] = 0,
    confidence: Annotated[
        float, typer.Option(help="Of the intervals and verdicts.")
    ] = 0.95,
    correction: Annotated[
        Correction, typer.Option(help="For ranking many components at once.")
    ] = "holm",
    on_error: Annotated[
        Literal["raise", "skip"],
        typer.Option(help="Whether samples that fail stop the run or are counted."),
    ] = "raise",
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write TensorBoard logs there.")
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Save the ranking as JSON there."),
    ] = None,
    as_json: options.Json = False,
    progress: Annotated[
        bool, typer.Option(help="Show progress on standard error.")
    ] = True,
) -> None:
    """Rank parts of a model by what taking each of them away does to a metric.

    Every component is scored on the same samples as the intact model, so each change
    comes with an interval, a p-value and a verdict.

    [bold]Examples[/bold]

        surgery rank timm:resnet18 imagefolder:val "layer*.*" --pretrained

        surgery rank timm:vit_tiny_patch16_224 imagefolder:val "blocks.*" --limit 1000
        --checkpoint vit.safetensors --mode identity --tensorboard runs/vit

        surgery rank my.models:make my.data:make "encoder.**[Linear]" --mode mean
        --metric cross_entropy --metric accuracy --save ranking.json
    """
    loaded = load_model(model, pretrained=pretrained, checkpoint=checkpoint)
    if _is_random(model, pretrained, checkpoint):
        print(
            f"warning: {model} has random weights; give --pretrained or --checkpoint",
            file=sys.stderr,
        )
    samples = load_data(
        data,
        loaded,
        split=split,
        input_size=input_size,
        batch_size=batch_size,
        limit=limit,
        workers=workers,
        seed=seed,
    )
    metrics = metric or ["accuracy"]
    ranking = surgery.rank(
        loaded,
        samples,
        targets,
        mode=mode,
        dial=dial,
        metric=metrics[0] if len(metrics) == 1 else metrics,
        engine=surgery.Engine(device=device),
        evidence=surgery.Evidence(confidence=confidence, correction=correction),
        on_error=on_error,
        seed=seed,
        progress=progress,
    )
    if save is not None:
        ranking.save(save)
    if tensorboard is not None:
        ranking.to_tensorboard(tensorboard)
        print(f"to look: tensorboard --logdir {tensorboard}", file=sys.stderr)
    if as_json:
        _print_json(ranking)
    else:
        print(ranking.render())


def _print_json(ranking: surgery.Ranking) -> None:
    """What `--save` would write, so that both are read the same way."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ranking.json"
        ranking.save(path)
        print(path.read_text(encoding="utf-8"), end="")


def _is_random(model: str, pretrained: bool, checkpoint: Path | None) -> bool:
    scheme = model.partition(":")[0]
    named = "weights=" in model or "pretrained=" in model or "checkpoint_path=" in model
    return scheme in ("timm", "torchvision") and not (pretrained or checkpoint or named)
