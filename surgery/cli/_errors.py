"""Errors of the package as one line and exit code 2, instead of a traceback."""

from __future__ import annotations

import functools as ft
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import ParamSpec

import typer

from surgery.errors import SurgeryError

debugging: ContextVar[bool] = ContextVar("debugging", default=False)

P = ParamSpec("P")


def told(command: Callable[P, None]) -> Callable[P, None]:
    """The command with the package's own errors told to the user, not thrown."""

    @ft.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except SurgeryError as error:
            if debugging.get():
                raise
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(2) from error

    return wrapped
