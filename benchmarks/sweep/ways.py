"""Ways: what every way of one batch owes, and the loops without `surgery`."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from benchmarks.sweep.parts import Part


class Unavailable(Exception):
    """A way that cannot do a case, or is not installed; says why."""


@dataclass(frozen=True)
class Job:
    """What every way of a case is given.

    Attributes:
        model: In eval mode, on its device.
        name: What `models.py` calls it.
        x: One batch.
        parts: What is taken out in turn.
    """

    model: nn.Module
    name: str
    x: Tensor
    parts: Sequence[Part]


class AbstractWay(ABC):
    """A way to the outputs of the untouched model and of the model without each part.

    `prepare` is timed apart, as what is done once; `run` is what every batch costs.
    """

    name: ClassVar[str]
    counted: ClassVar[bool] = True
    """Whether its operations can be counted one by one."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def prepare(self) -> None:  # noqa: B027
        """What is done once.

        Raises:
            Unavailable: It cannot do the case.
        """

    @abstractmethod
    def run(self) -> list[Tensor]:
        """Logits of one batch: the untouched model's, then without each part."""


class Tuned(AbstractWay):
    """What a user who minds speed writes: hooks, inference mode, nothing read back."""

    name = "tuned"

    def run(self) -> list[Tensor]:
        job = self.job
        with torch.inference_mode():
            found = [classified(job.model(job.x))]
            for part in job.parts:
                undo = part.cut(job.model)
                found.append(classified(job.model(job.x)))
                undo()
        return found


class TunedChannelsLast(Tuned):
    """The same in another memory format: what that alone is worth."""

    name = "tuned, channels last"

    def prepare(self) -> None:
        job = self.job
        if job.x.ndim != 4:
            raise Unavailable("its inputs are no images")
        layout: Any = {"memory_format": torch.channels_last}
        model = copy.deepcopy(job.model).to(**layout)
        self.job = replace(job, model=model, x=job.x.to(**layout))


class TunedCompiled(AbstractWay):
    """The same compiled once: hooks that multiply by one number of a tensor."""

    name = "tuned, compiled"
    counted = False

    def prepare(self) -> None:
        job = self.job
        if any(not part.path or part.features for part in job.parts):
            raise Unavailable("its hooks stand at modules only")
        model = copy.deepcopy(job.model)
        self._keep = torch.ones(len(job.parts), device=job.x.device)
        for place, part in enumerate(job.parts):
            module = model.get_submodule(part.path)
            module.register_forward_hook(_Scaled(self._keep, place))
        self._model = torch.compile(model)
        try:
            self.run()
        except Exception as error:
            raise Unavailable(
                f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
            ) from error

    def run(self) -> list[Tensor]:
        job = self.job
        with torch.no_grad():
            found = [classified(self._model(job.x))]
            for place in range(len(job.parts)):
                self._keep[place] = 0
                found.append(classified(self._model(job.x)))
                self._keep[place] = 1
        return found


class _Scaled:
    def __init__(self, keep: Tensor, place: int) -> None:
        self._keep, self._place = keep, place

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return output * self._keep[self._place]


def classified(logits: Tensor) -> Tensor:
    """The logits, after the class that is all a loop wants of them."""
    logits.argmax(-1)
    return logits
