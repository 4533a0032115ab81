"""The direct executor: programs and their scoring, called batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from surgery.evaluator import AbstractExecutor, Recipe
from surgery_backends._trial import Trial, clocked
from surgery_backends.fused._leaves import leaves_of
from surgery_backends.fused._program import FusedProgram


@final
class Body:
    """One pass over a batch: a program and the scoring of what it gives.

    It is a function of tensors that reads no value on the host: what it launches can be
    recorded.
    """

    def __init__(
        self,
        model: nn.Module,
        trials: Sequence[Trial],
        program: FusedProgram,
        recipe: Recipe,
    ) -> None:
        self._model = model
        self._trials = trials
        self._program = program
        self._recipe = recipe

    @torch.no_grad()
    def __call__(self, tensors: Sequence[Tensor], place: Tensor) -> None:
        """Evaluate and score.

        Args:
            tensors: The batch's, where the model is.
            place: Where in the tables of results it goes.
        """
        args, kwargs = self._recipe.call(tensors)
        leaves = leaves_of(self._program.marked, args, kwargs)
        outputs: dict[int | None, Any] = {}
        with clocked(self._model, self._trials, args, kwargs):
            self._program.run(leaves, outputs.__setitem__)
        self._recipe.score(tensors, place, outputs)


@final
class DirectExecutor(AbstractExecutor):
    """Calls pass after pass, for every batch anew."""

    def __init__(
        self,
        model: nn.Module,
        trials: Sequence[Trial],
        programs: Sequence[FusedProgram],
        recipe: Recipe,
        *,
        exact: bool,
    ) -> None:
        self.exact = exact
        self._bodies = [Body(model, trials, program, recipe) for program in programs]

    def run(self, tensors: Sequence[Tensor], place: int) -> None:
        where = torch.full((1,), place, device=tensors[0].device)
        for body in self._bodies:
            body(tensors, where)
