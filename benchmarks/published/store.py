"""What was measured, kept: one file for each paper and seed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.published.claim import Measured, S, Script

CACHE = Path(__file__).parents[2] / ".cache" / "published"


def keep(script: Script[S], found: Measured, stamp: str, folder: Path) -> None:
    """Writes one seed's results whole or not at all."""
    path = _path(script, found.seed, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"setup": _setup(script), "stamp": stamp, **asdict(found)})
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def kept(script: Script[S], seed: int, folder: Path) -> tuple[Measured, str] | None:
    """One seed's results and their stamp; none of another setup."""
    path = _path(script, seed, folder)
    if not path.exists():
        return None
    read = json.loads(path.read_text(encoding="utf-8"))
    if read["setup"] != _setup(script):
        return None
    return Measured(seed, read["figures"], read["curves"]), read["stamp"]


def all_kept(
    script: Script[S], seeds: Sequence[int], folder: Path
) -> tuple[list[Measured], list[str]]:
    """Results of all seeds that are kept, and their stamps."""
    found = [x for x in (kept(script, seed, folder) for seed in seeds) if x]
    return [measured for measured, _ in found], [stamp for _, stamp in found]


def _setup(script: Script[S]) -> str:
    return hashlib.sha256(repr(script.full).encode()).hexdigest()[:16]


def _path(script: Script[S], seed: int, folder: Path) -> Path:
    return folder / "results" / f"{script.claim.name}-{seed}.json"
