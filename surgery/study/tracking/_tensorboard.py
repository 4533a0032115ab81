"""TensorBoard: one run per trial, grouped by arm, with its curves and final metrics."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from surgery._random import derive
from surgery.report import printable
from surgery.study.tracking._base import AbstractTracker
from surgery.study.trials import Outcome, Request


@final
class TensorBoard(AbstractTracker):
    """Writes `tensorboard/ARM/seed N` below the study's folder."""

    def __init__(self) -> None:
        self._folder = Path()
        self._writers: dict[str, Any] = {}
        self._requests: dict[str, Request] = {}

    def open(self, study: str, folder: Path) -> None:
        self._folder = folder / "tensorboard"

    def start(self, request: Request, attempt: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        run = self._folder / run_name(request)
        before = self._writers.pop(request.id, None)
        if before is not None:  # its attempt was lost: it must not write any more
            before.close()
        shutil.rmtree(run, ignore_errors=True)  # two attempts would be drawn as one
        self._writers[request.id] = SummaryWriter(str(run))
        self._requests[request.id] = request

    def log(self, trial: str, step: float, metrics: Mapping[str, float]) -> None:
        writer = self._writers.get(trial)
        for name, value in metrics.items():
            if writer is not None and not math.isnan(value):
                writer.add_scalar(printable(name), value, int(step))

    def finish(self, trial: str, outcome: Outcome) -> None:
        writer = self._writers.pop(trial, None)
        if writer is None:
            return
        request = self._requests.pop(trial)
        final = {f"final/{printable(n)}": v for n, v in outcome.metrics.items()}
        settings = {
            "arm": printable(request.arm.name),
            "seed": request.seed,
            "context": printable(request.context),
            "tier": printable(request.tier),
            "state": str(outcome.state),
        }
        finite = {name: v for name, v in final.items() if math.isfinite(v)}
        writer.add_hparams(settings, finite, run_name=".")
        writer.close()

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()


def run_name(request: Request) -> str:
    """Context, tier and arm as folders, a seed in each."""
    levels = [request.context, request.tier, request.arm.name]
    safe = [_folder(level) for level in levels if level]
    return "/".join([*safe, f"seed {request.seed}"])


def _folder(name: str) -> str:
    kept = "".join(
        c if c.isalnum() or c in " .@#,=+-_" else "_" for c in printable(name)
    )
    kept = kept[:80].strip(" .")
    # Two names that differ only in what a folder cannot be called stay apart.
    return kept if kept == name else f"{kept} {derive(0, name) % 10**6:06d}"
