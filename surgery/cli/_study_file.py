"""Studies out of files: the file is imported by name, so that workers find it too."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from surgery.errors import StudyError
from surgery.study import Study


def load_study(spec: str, settings: Sequence[str] = ()) -> Study:
    """The study of `FILE.py`, or of `FILE.py:NAME` where it has several.

    Args:
        spec: The file, and the name of a study, or of a function that makes one.
        settings: `key=value` for dotted paths of its config.

    Raises:
        StudyError: There is no such file, no study in it, or no such key.
    """
    path, name = spec, ""
    if not Path(spec).is_file() and ":" in spec:
        path, _, name = spec.rpartition(":")
    file = Path(path)
    if file.suffix != ".py" or not file.is_file():
        raise StudyError(
            f"there is no file {path!r}; name the Python file that makes the study"
        )
    study = _study_in(_imported(file.resolve()), name, path)
    if settings:
        study.configure(dict(map(_setting, settings)))
    return study


def _imported(file: Path) -> ModuleType:
    """The module, under the name by which other processes can import it as well."""
    parts, folder = [file.stem], file.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    name = ".".join(parts)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    module = importlib.import_module(name)
    found = getattr(module, "__file__", None)
    if found is None or Path(found).resolve() != file:
        raise StudyError(
            f"{file} cannot be imported: {name!r} is already {found or 'built in'}; "
            "give the file another name"
        )
    return module


def _study_in(module: ModuleType, name: str, path: str) -> Study:
    if name:
        found = getattr(module, name, None)
        if isinstance(found, Study):
            return found
        if callable(found):
            return _made(found, name, path)
        raise StudyError(f"{path} has no study {name!r}; it has {_names(module)}")
    studies = {id(v): v for v in vars(module).values() if isinstance(v, Study)}
    if len(studies) == 1:
        return next(iter(studies.values()))
    if not studies and callable(make := getattr(module, "make_study", None)):
        return _made(make, "make_study", path)
    many = "several studies" if studies else "no study"
    raise StudyError(
        f"{path} has {many} ({_names(module)}); write study = surgery.Study(...) in "
        f"it, or a function make_study() that returns one, or name one: {path}:NAME"
    )


def _made(make: Any, name: str, path: str) -> Study:
    required = [
        parameter.name
        for parameter in inspect.signature(make).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if required:
        raise StudyError(
            f"{name} of {path} requires {', '.join(required)}; a function that makes a "
            "study must do without arguments"
        )
    study = make()
    if not isinstance(study, Study):
        raise StudyError(
            f"{name} of {path} returned {type(study).__name__}, not a surgery.Study"
        )
    return study


def _names(module: ModuleType) -> str:
    names = [name for name, value in vars(module).items() if isinstance(value, Study)]
    return ", ".join(names) or "none"


def _setting(text: str) -> tuple[str, object]:
    """`optim.lr=1e-3`: the value is JSON where it can be, else text."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise StudyError(f"--set takes key=value, got {text!r}")
    words = {"True": True, "False": False, "None": None}
    if value in words:
        return key.strip(), words[value]
    try:
        return key.strip(), json.loads(value)
    except ValueError:
        return key.strip(), value


def seeds_from(text: str | None) -> int | list[int] | None:
    """`5`: so many; `0,3,7`: these; `3-7`: from the first to the last."""
    if text is None:
        return None
    try:
        if text.strip().isdigit():
            return int(text)
        found: list[int] = []
        for piece in text.split(","):
            first, dash, last = piece.strip().partition("-")
            found += range(int(first), int(last if dash else first) + 1)
    except ValueError:
        found = []
    if not found:
        raise StudyError(
            f"--seeds takes how many (5), a list (0,3,7) or a range (3-7), got {text!r}"
        )
    return found
