"""`surgery components`: everything in a model that can be operated on."""

from __future__ import annotations

import json
from typing import Annotated, cast, get_args

import typer

import surgery
from surgery.anatomy import Kind
from surgery.cli import _options as options
from surgery.cli._example import example_inputs
from surgery.cli._models import load_model
from surgery.cli._tables import json_records


def components(
    model: options.Model,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="List only this kind, such as branch, head or parameter (repeatable): "
            f"{', '.join(get_args(Kind))}.",
            show_default="all but heads, channels and parameters",
        ),
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option(
            metavar="SIZES",
            help="Shape of the input, batch first, as in 1,3,224,224.",
            show_default="what the model takes",
        ),
    ] = None,
    input_size: options.InputSize = None,
    pretrained: options.Pretrained = False,
    checkpoint: options.Checkpoint = None,
    as_json: options.Json = False,
) -> None:
    """List the parts of a model: their names, shapes, calls and costs.

    One forward is recorded. The names are what `surgery rank` takes as targets.

    [bold]Examples[/bold]

        surgery components timm:resnet18

        surgery components "timm:resnet10t?in_chans=1" --input-size 32 --json

        surgery components timm:vit_tiny_patch16_224 --kind branch --kind head

        surgery components my_package.models:make --input-shape 1,16
    """
    loaded = load_model(model, pretrained=pretrained, checkpoint=checkpoint)
    args, kwargs = example_inputs(loaded, input_shape, input_size)
    kinds = cast("list[Kind] | None", kind or None)  # checked by components
    parts = surgery.components(loaded, *args, kwargs=kwargs, kinds=kinds)
    if as_json:
        print(json.dumps(json_records(parts.to_pandas()), indent=1))
    else:
        print(parts)
