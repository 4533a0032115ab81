"""A driver: runs the study until it is done, or until it is killed."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.faults import fast


def drive(folder: Path, workers: int) -> None:
    """What a driver's process does; workers that die are retried, however many do."""
    torch.set_num_threads(1)
    fast.study(folder).run(workers=workers, retries=10_000, progress=False)
