"""The runner: the one way in which a sweep runs a model on a batch."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from surgery._random import derive, seed_all
from surgery.data import fresh, slice_batch
from surgery.engine._answers import answering
from surgery.engine._steps import Step
from surgery.engine._swept import words
from surgery.ops import sweeping


@dataclass(frozen=True)
class Known:
    """What the model returns on a batch, known before."""

    output: Any

    def answer(self, *args: Any, **kwargs: Any) -> Any:
        """Stands for the model's forward."""
        return self.output


@dataclass
class _Buffer:
    """A buffer as every forward must find it."""

    owner: nn.Module
    name: str
    tensor: Tensor
    value: Tensor
    version: int


@final
class Runner:
    """Runs a model on a batch again and again, each time as if for the first time.

    Every forward gets a batch of its own (steps and models may change theirs), the
    same random numbers for the same batch, and finds the buffers as they were. The
    batch as given, the buffers and the user's data stay as they are.
    """

    def __init__(self, model: nn.Module, step: Step, seed: int) -> None:
        self.model = model
        self.step = step
        self._seed = seed
        self._buffers = [
            _Buffer(module, name, buffer, buffer.detach().clone(), _version(buffer))
            for module in model.modules()
            for name, buffer in module.named_buffers(recurse=False)
        ]

    def forward(
        self, batch: Any, number: int, known: Known | None = None
    ) -> tuple[Any, Any]:
        """Outputs and labels of the model as it is now.

        Args:
            batch: What the step takes.
            number: The batch's number.
            known: What the model returns, where that is known: it does not run then.
        """
        if known is not None:
            with answering(self.model, known.answer), self.prepared(number):
                return self.step(self.model, fresh(batch))
        with self.prepared(number):
            return self.step(self.model, fresh(batch))

    @contextmanager
    def prepared(self, number: int) -> Generator[None]:
        """Have everything draw in this block as for that batch."""
        seed_all(derive(self._seed, "batch", number))
        with sweeping(number):
            yield

    def causes(self, batch: Any, size: int, number: int) -> dict[int, str]:
        """Which samples of a batch raise when they run alone, and what."""
        causes: dict[int, str] = {}
        for row in range(size):
            try:
                self.forward(slice_batch(batch, row, row + 1), number)
            except Exception as error:  # whatever it is, it is counted and shown
                causes[row] = words(error)
        return causes

    @torch.no_grad()
    def put_back(self) -> None:
        """Give the buffers their values back, where forwards changed them."""
        for kept in self._buffers:
            if kept.owner._buffers.get(kept.name) is not kept.tensor:
                kept.owner._buffers[kept.name] = kept.tensor
            if _changed(kept):
                kept.tensor.copy_(kept.value)
                kept.version = _version(kept.tensor)


def _changed(kept: _Buffer) -> bool:
    # Inference tensors do not count their versions: their values are written anew.
    return kept.tensor.is_inference() or kept.tensor._version != kept.version


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version
