"""Saved results: strict JSON with a version, written whole or not at all."""

from __future__ import annotations

import json
import math
import os
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from surgery.errors import SurgeryError

JSONValue = bool | int | float | str | None | list["JSONValue"] | dict[str, "JSONValue"]
Body = dict[str, JSONValue]


@dataclass(frozen=True)
class FileKind:
    """One kind of file, and how older versions of it become the present one.

    Attributes:
        name: What the file holds, written into it.
        version: The version written now.
        upgraders: For every older version, what turns its body into the next one's.
    """

    name: str
    version: int
    upgraders: Mapping[int, Callable[[Body], Body]] = field(
        default_factory=dict[int, Callable[[Body], Body]]
    )


def plain_json(value: object) -> JSONValue:
    """The value as strict JSON, with tuples as lists.

    Numbers that JSON lacks become `"NaN"`, `"Infinity"` and `"-Infinity"`, which
    Python's `float` reads back.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {str(key): plain_json(item) for key, item in items}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [plain_json(item) for item in cast("Sequence[object]", value)]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return plain_json(value.item())  # pyright: ignore[reportAttributeAccessIssue]
    raise SurgeryError(
        f"only plain values can be saved as JSON, got {type(value).__name__}: "
        "turn it into numbers, text, lists or dicts first"
    )


def save_json(
    path: str | os.PathLike[str], kind: FileKind, body: Mapping[str, object]
) -> None:
    """Writes the body; a crash leaves either the old file or the new one."""
    path = Path(os.path.realpath(path))  # a link stays one
    head = {"kind": kind.name, "version": kind.version}
    document = head | cast(Body, plain_json(body))
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex}.part")
    try:
        with open(part, "x", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load_json(path: str | os.PathLike[str], kind: FileKind) -> Body:
    """The body of a saved file of this kind, brought to the present version."""
    try:
        document: object = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise SurgeryError(
            f"{os.fspath(path)} is not a saved {kind.name}: it is not JSON ({error}); "
            "save it again"
        ) from error
    body = cast(Body, document) if isinstance(document, dict) else {}
    found, version = body.pop("kind", None), body.pop("version", None)
    if found != kind.name:
        raise SurgeryError(
            f"{os.fspath(path)} is not a saved {kind.name}: its kind is {found!r}; "
            "load it with the class that saved it"
        )
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise SurgeryError(
            f"{os.fspath(path)} has no usable version, got {version!r}; save it again"
        )
    if version > kind.version:
        raise SurgeryError(
            f"{os.fspath(path)} has version {version}, this release knows up to "
            f"{kind.version}: it was saved by a newer one; "
            "pip install --upgrade torch-surgery"
        )
    for older in range(version, kind.version):
        body = kind.upgraders[older](body)
    return body
