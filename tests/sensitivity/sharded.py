"""Curves that several processes measure together; one process measures them alike.

Run by torchrun: `python -m torch.distributed.run ... -m tests.sensitivity.sharded DIR`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import surgery
from surgery.errors import OperationError
from surgery.sensitivity import Suggestion
from tests.engine.sharded import digits, net

RANK = int(os.environ.get("RANK", "0"))
PARTS = ["stem", "block", "head"]
LOSS: dict[str, Any] = {"metric": "cross_entropy", "progress": False}

Result = surgery.Sensitivity | Suggestion


def data(count: int = 330) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of 64, the last one short."""
    x, y = digits(count)
    return list(zip(x.split(64), y.split(64), strict=True))


def curves(**options: Any) -> surgery.Sensitivity:
    found: surgery.Sensitivity = surgery.sensitivity(
        net(), data(), PARTS, **LOSS, **options
    )
    return found


def noise() -> Result:
    """Draws are those of one process, whichever process has the batch."""
    return curves(levels=(0.1, 1.0), repeats=2)


def adaptive() -> Result:
    """Every round has the levels that all of them found wanting."""
    return curves(perturb="scale", levels=(1.0,), tolerance=0.02)


def bits() -> Result:
    """From curves to a proposal that is verified together."""
    found = curves(perturb="quantize", levels=(8, 2))
    return found.suggest(net(), data(), max_drop=0.5, progress=False)


ALIKE: dict[str, Callable[[], Result]] = {
    f.__name__: f for f in (noise, adaptive, bits)
}


def scores(**options: Any) -> surgery.Scores:
    found: surgery.Scores = surgery.sensitivity(
        net(), data(70 + RANK), PARTS, method="taylor", check=0, **options, **LOSS
    )
    return found


def main(folder: Path) -> None:
    for name, make in ALIKE.items():
        make().save(folder / f"{name}-{RANK}.json")
    told: dict[str, Any] = {}
    try:
        scores()
    except OperationError as error:
        told["together"] = str(error)
    told["alone"] = scores(engine=surgery.Engine(sharded=False)).rows[0].n
    (folder / f"told-{RANK}.json").write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
