"""How the command line names a model or data: `scheme:name?option=value&...`."""

from __future__ import annotations

import ast
import functools as ft
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import unquote

from surgery.errors import SurgeryError


@dataclass(frozen=True)
class Spec:
    """A parsed `scheme:name?option=value`; for a factory the scheme is its module.

    Attributes:
        options: Keyword arguments; values are Python literals where they read as
            such, else text.
    """

    scheme: str
    name: str
    options: Mapping[str, object]


def parse_spec(text: str) -> Spec:
    """Reads a spec; any text gives one or a `SurgeryError`."""
    address, _, query = text.partition("?")
    scheme, _, name = address.partition(":")
    options: dict[str, object] = {}
    for pair in filter(None, query.split("&")):
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier():
            raise SurgeryError(
                f"{text!r} has an option {pair!r} that is not NAME=VALUE; "
                f"write {address}?num_classes=10&in_chans=1"
            )
        options[key] = _literal(unquote(value))
    return Spec(scheme, name, options)


def call_factory(spec: Spec, what: str) -> object:
    """What `package.module:factory` returns, called with the spec's options.

    The current directory is importable, as it is for `python -m`. Something that is
    no function is taken as it is.
    """
    text = f"{spec.scheme}:{spec.name}"
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        found: object = importlib.import_module(spec.scheme)
    except ModuleNotFoundError as error:
        raise SurgeryError(
            f"cannot import {error.name!r} for the {what} {text!r}, looked in {here} "
            "and the environment; run from the folder that holds it"
        ) from error
    for part in spec.name.split("."):
        if not hasattr(found, part):
            raise SurgeryError(
                f"{spec.scheme!r} has no {spec.name!r}; name a function of it that "
                f"returns the {what}, as in {spec.scheme}:make"
            )
        found = getattr(found, part)
    if isinstance(found, type) or _is_function(found):
        function = cast("Callable[..., object]", found)
        _check_options(function, spec, text)
        try:
            return function(**spec.options)
        except SurgeryError:
            raise
        except Exception as error:
            raise SurgeryError(
                f"{text} failed: {type(error).__name__}: {error}; --debug shows where"
            ) from error
    if spec.options:
        raise SurgeryError(
            f"{text} is a {type(found).__name__}, no function, and takes no options; "
            f"write {text}"
        )
    return found


def _is_function(value: object) -> bool:
    # A model may be callable too, but is the thing itself.
    return inspect.isroutine(value) or isinstance(value, ft.partial)


def _check_options(function: Callable[..., object], spec: Spec, text: str) -> None:
    """Tells a wrong option from a `TypeError` inside the function."""
    try:
        inspect.signature(function).bind(**spec.options)
    except TypeError as error:
        raise SurgeryError(
            f"{text} cannot be called with {_told(spec.options)}: {error}; options "
            f"are its keyword arguments: {text}?name=value"
        ) from error
    except ValueError:  # some built-ins have no signature to check against
        return


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text.capitalize() if _is_word(text) else text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _is_word(text: str) -> bool:
    return text.lower() in ("true", "false", "none")


def _told(options: Mapping[str, object]) -> str:
    return ", ".join(f"{k}={v!r}" for k, v in options.items()) or "no options"
