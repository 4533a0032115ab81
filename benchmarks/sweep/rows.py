"""Rows: what was measured of one way of one case, kept as files."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

CACHE = Path(__file__).parents[2] / ".cache" / "sweep"
"""Where rows are kept between runs: pieces of a table may come from several."""


@dataclass(frozen=True)
class Row:
    """One way of one case.

    Attributes:
        case: The case's name.
        way: The way's name.
        parts: How many parts were taken out.
        why_not: Why it was not measured; empty if it was.
        seconds: Per batch; in a folder, per batch of the whole ranking.
        once: Seconds that were spent once.
        ratios: How many times as fast it is as others, by their names.
        whole: The same with what was spent once, over the folder.
        flops: Of the least that any exact way needs.
        bound: Share of the device's measured throughput, were those all it did.
        pays: After how many batches what was spent once is won back.
        agrees: Whether outputs are those of the first way.
        note: What it chose.
    """

    case: str
    way: str
    parts: int
    why_not: str = ""
    seconds: float = 0.0
    once: float = 0.0
    ratios: dict[str, float] = field(default_factory=dict[str, float])
    whole: dict[str, float] = field(default_factory=dict[str, float])
    flops: float | None = None
    bound: float | None = None
    pays: float | None = None
    agrees: str = ""
    note: str = ""


@dataclass(frozen=True)
class Measured:
    """All rows of a case, and where they come from.

    Attributes:
        case: Its name.
        rows: By way.
        rounds: How many there were.
        stamp: Date, machine, settings, versions.
    """

    case: str
    rows: Sequence[Row]
    rounds: int
    stamp: str

    def save(self, kind: str, folder: Path = CACHE) -> None:
        """Keep it, whole or not at all."""
        file = folder / kind / f"{self.case}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        partial.replace(file)


def kept(kind: str, cases: Sequence[str], folder: Path = CACHE) -> list[Measured]:
    """What is kept of these cases, in their order."""
    found: list[Measured] = []
    for case in cases:
        file = folder / kind / f"{case}.json"
        if file.exists():
            told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            rows = [Row(**row) for row in told.pop("rows")]
            found.append(Measured(rows=rows, **told))
    return found


def stamp(device: str, threads: int, layout: str, throughput: float) -> str:
    """Date, machine, settings and versions, in words."""
    packages = ["torch", "timm"]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    where = torch.cuda.get_device_name() if device == "cuda" else _processor()
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {where}, {threads} torch thread(s), float32, "
        f"{layout.replace('_', ' ')}, {throughput / 1e9:.0f} GFLOP/s measured; "
        f"{versions}, Python {platform.python_version()}"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    name = names[0] if names else platform.processor()
    return f"CPU {platform.machine()} {name}".strip()
