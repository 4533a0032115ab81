"""Evaluators: what gives the outputs of many variants of a model for one batch.

Like backends, they are asked by `surgery.rank` and others, never by users.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from surgery.errors import BackendError


@dataclass(frozen=True)
class Evaluated:
    """Outputs of the model on one batch.

    Attributes:
        outputs: The untouched model's under `None`, those of variants by number. A
            variant may be missing: it is then run by itself. They may be computed when
            asked for, and let go of when the next one is: ask in their order.
        exact: Whether each is, bit for bit, what a forward of its own would give.
    """

    outputs: Mapping[int | None, Any]
    exact: bool


@dataclass(frozen=True)
class Recipe:
    """How batches of one form are evaluated and scored where they are.

    Its functions wait for no value: all that they look at on the host is shapes. So
    what they launch for one batch can be recorded, and launched for others in the same
    memory. They may be called again for the same batch.

    Attributes:
        call: The model's inputs `(args, kwargs)` out of a batch's tensors.
        score: Takes in outputs of the untouched model (under `None`) and of variants
            by number: `score(tensors, place, outputs)`. `place` tells where in the
            tables of results the batch begins, as a tensor of one integer.
        wanted: The variants.
    """

    call: Callable[[Sequence[Tensor]], tuple[tuple[Any, ...], dict[str, Any]]]
    score: Callable[[Sequence[Tensor], Tensor, Mapping[int | None, Any]], None]
    wanted: Sequence[int]


class AbstractExecutor(ABC):
    """Carries out a recipe for batches of one form.

    Attributes:
        exact: Whether each output is bit for bit that of a forward of its own.
    """

    exact: bool

    @abstractmethod
    def run(self, tensors: Sequence[Tensor], place: int) -> None:
        """Evaluate and score a batch; may return before that is done.

        Args:
            tensors: The batch's, on the model's device or on the CPU. They are not
                looked at any more once this has returned.
            place: Where in the tables of results it begins.
        """


class AbstractEvaluator(ABC):
    """Evaluates the untouched model and many variants of it on one batch together.

    Attributes:
        name: What `Engine(backend=...)` calls it.
        records: Whether its executors run Python for the first batch of a form only,
            and repeat what it has launched.
    """

    name: ClassVar[str]
    records: ClassVar[bool] = False

    @abstractmethod
    def evaluate(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        wanted: Collection[int],
        forward: Callable[..., Any],
    ) -> Evaluated:
        """The model's outputs for one batch.

        Args:
            args: Positional inputs of the model.
            kwargs: Keyword inputs of the model.
            wanted: The variants to evaluate.
            forward: Runs the model as it is, on inputs like these.

        Raises:
            BackendError: It cannot do so exactly; says why.
        """

    def executor(
        self,
        recipe: Recipe,
        tensors: Sequence[Tensor],
        forward: Callable[..., Any],
    ) -> AbstractExecutor:
        """What carries out a recipe for batches of one form.

        Args:
            recipe: The recipe.
            tensors: Such a batch's, on the model's device.
            forward: Runs the model as it is, on inputs like these.

        Raises:
            BackendError: It cannot do so; says why.
        """
        raise BackendError(f"{self.name} hands its outputs over one by one")

    def plan(self) -> dict[str, Any]:
        """What was chosen for speed, as plain JSON."""
        return {}


def default_budget(model: nn.Module) -> int:
    """Bytes that values in flight may take: a quarter of what is free by the model."""
    first = next(model.parameters(), None)
    if first is not None and first.is_cuda:
        return torch.cuda.mem_get_info(first.device)[0] // 4
    for pages in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES"):
        try:
            return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE") // 4
        except (ValueError, OSError, AttributeError):  # this system does not say
            continue
    return 2**30
