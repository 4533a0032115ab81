"""Arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help=(
            "timm:NAME, torchvision:NAME, hf:NAME (a folder or a hub name; "
            "?task=image-classification picks the auto class) or "
            "package.module:factory. Options follow a question mark: "
            "timm:resnet18?num_classes=10&in_chans=1"
        ),
        show_default=False,
    ),
]
Pretrained = Annotated[
    bool,
    typer.Option(
        "--pretrained",
        help="Load the published weights (hf: models always do). Needs a network.",
    ),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Load these weights: safetensors, or a file of torch.save "
        "(read as weights only).",
    ),
]
InputSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="PIXELS",
        help="Side of the images, where it is not what the model itself says.",
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print JSON instead of a table, and nothing else."),
]
