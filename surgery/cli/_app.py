"""The program `surgery`: its commands put together."""

from __future__ import annotations

from typing import Annotated

import typer

from surgery.cli._components import components
from surgery.cli._demo import demo
from surgery.cli._errors import debugging, told
from surgery.cli._rank import rank
from surgery.cli._study import study

app = typer.Typer(
    name="surgery",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a traceback is for bug reports: keep it plain
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from surgery import __version__

        print(__version__)
        raise typer.Exit()


@app.callback()
def surgery(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and stop.",
            callback=_print_version,
            is_eager=True,
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Know what each part of a PyTorch model does.

    Try it on two small models, trained here in about a minute: surgery demo
    """
    debugging.set(debug)


app.command()(told(components))
app.command()(told(rank))
app.command()(told(demo))
app.add_typer(study)


def main() -> None:
    """The console script."""
    app()
