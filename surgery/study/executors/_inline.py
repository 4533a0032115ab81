"""InProcess: one trial after the other, in the driver's own process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch

from surgery.study.execution import Listener, Recipe, run_trial
from surgery.study.executors._base import AbstractExecutor, Done
from surgery.study.executors._output import copied_to
from surgery.study.trials import Request


@final
class InProcess(AbstractExecutor):
    """Runs trials where the study is run: nothing has to pickle, debuggers work.

    Args:
        device: Where to train; by default the first GPU if there is one.

    Attributes:
        device: Likewise.
    """

    name = "in-process"

    def __init__(self, device: str | None = None) -> None:
        self.device = device or default_devices()[0]
        self._requests: list[tuple[Request, bool]] = []
        self._recipe: Recipe | None = None
        self._listener: Listener | None = None

    @property
    def capacity(self) -> int:
        return 1

    def open(self, recipe: Recipe, listener: Listener, *, answers: bool) -> None:
        self._recipe, self._listener = recipe, listener

    def submit(self, request: Request, *, one_step: bool = False) -> None:
        self._requests.append((request, one_step))

    def wait(self, timeout: float) -> Sequence[Done]:
        done: list[Done] = []
        while self._requests:
            request, one_step = self._requests.pop(0)
            assert self._recipe is not None
            assert self._listener is not None
            with copied_to(self._recipe.log_path(request.id)):
                outcome = run_trial(
                    self._recipe,
                    request,
                    self._listener,
                    self.device,
                    one_step=one_step,
                )
            done.append(Done(request.id, outcome))
        return done

    def close(self) -> None:
        self._requests.clear()


def default_devices() -> list[str]:
    """All GPUs, else the CPU."""
    if torch.cuda.is_available():
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return ["cpu"]
