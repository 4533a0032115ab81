"""Checkpoints of a trial: written whole or not at all, read without unpickling code."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from surgery.errors import StudyError


def save_checkpoint(
    path: Path,
    step: int,
    state: Mapping[str, Any],
    generators: Sequence[torch.Generator],
) -> None:
    """Writes the state and all random generators."""
    body = {
        "step": int(step),
        "state": {name: _plain(value) for name, value in state.items()},
        "random": _generators_now(generators),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            torch.save(body, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load_checkpoint(
    path: Path,
    state: Mapping[str, Any],
    generators: Sequence[torch.Generator] | None,
) -> tuple[int, dict[str, Any]] | None:
    """Puts the saved state into what is given; the step and the plain values.

    Args:
        path: The file.
        state: What is put back, by the names under which it was saved.
        generators: The trial's own generators; `None` leaves all generators alone.
    """
    if not path.exists():
        return None
    try:
        body = torch.load(path, map_location="cpu", weights_only=True)
        saved = cast("dict[str, Any]", body["state"])
    except Exception as error:
        raise StudyError(
            f"the checkpoint {path} cannot be read ({error}); delete it, and the trial "
            "starts from its beginning"
        ) from error
    for name, thing in state.items():
        if name not in saved:
            raise StudyError(
                f"the checkpoint {path} has no {name!r}, it has "
                f"{', '.join(saved) or 'nothing'}; save and resume under the same names"
            )
        if hasattr(thing, "load_state_dict"):
            thing.load_state_dict(saved[name])
    if generators is not None:
        _generators_back(body["random"], generators)
    return int(body["step"]), saved


def _plain(value: Any) -> Any:
    return value.state_dict() if hasattr(value, "state_dict") else value


def _generators_now(generators: Sequence[torch.Generator]) -> dict[str, Any]:
    name, keys, place, has_normal, normal = cast(
        "tuple[Any, ...]", np.random.get_state()
    )
    version, numbers, spare = random.getstate()
    cuda = torch.cuda.is_initialized()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if cuda else [],
        "numpy": [str(name), torch.from_numpy(keys.astype(np.int64)), int(place)],
        "numpy normal": [int(has_normal), float(normal)],
        "python": [version, list(numbers), spare],
        "own": [generator.get_state() for generator in generators],
    }


def _generators_back(
    saved: Mapping[str, Any], generators: Sequence[torch.Generator]
) -> None:
    torch.set_rng_state(saved["torch"])
    if saved["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(saved["cuda"])
    name, keys, place = saved["numpy"]
    keys = keys.numpy().astype(np.uint32)
    np.random.set_state((name, keys, place, *saved["numpy normal"]))
    version, numbers, spare = saved["python"]
    random.setstate((version, tuple(numbers), spare))
    for generator, state in zip(generators, saved["own"], strict=False):
        generator.set_state(state)
