"""Reporter: what a train function tells while it trains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from surgery.errors import StudyError
from surgery.study.execution._checkpoint import load_checkpoint, save_checkpoint
from surgery.study.execution._messages import Listener, Logged


class StopTrial(BaseException):
    """Ends a train function from within; no `except Exception` stops it."""


class Reporter:
    """Given to train functions that take `reporter`.

    Attributes:
        trial: Id of the trial.
        folder: A folder of the trial's own, for whatever it writes.
    """

    def __init__(
        self,
        trial: str,
        folder: Path,
        listener: Listener,
        generators: Sequence[torch.Generator] = (),
    ) -> None:
        self.trial = trial
        self.folder = folder
        self._listener = listener
        self._generators = generators

    def log(self, step: float, **metrics: Any) -> None:
        """Record metrics of a step or epoch; they become the trial's curves.

        Where the study's policy stops hopeless trials, this does not return for them.

        Args:
            step: Number of the step or epoch; a step logged again has its latest value.
            metrics: Numbers, by name.
        """
        numbers = {name: number(value, name) for name, value in metrics.items()}
        reason = self._listener(Logged(self.trial, float(step), numbers))
        if reason:
            raise StopTrial(reason)

    def checkpoint(self, step: int, **state: Any) -> None:
        """Save where the training stands, so that a killed trial goes on from here.

        Args:
            step: The last step or epoch that is done.
            state: The model, the optimizer, whatever has a `state_dict`, tensors and
                plain values; random generators are saved too.
        """
        save_checkpoint(self._checkpoint, step, state, self._generators)

    def resume(self, **state: Any) -> int | None:
        """Go on where an earlier attempt of this trial was killed.

        Args:
            state: What `checkpoint` was given, by the same names; what has a
                `state_dict` is put back as it was.

        Returns:
            The last step that is done, or `None` if there is no checkpoint.
        """
        found = load_checkpoint(self._checkpoint, state, self._generators)
        return None if found is None else found[0]

    def saved(self, name: str) -> Any:
        """A tensor or plain value that `checkpoint` was given under this name.

        Raises:
            StudyError: There is no checkpoint, or nothing of that name in it.
        """
        found = load_checkpoint(self._checkpoint, {}, None)
        if found is None or name not in found[1]:
            raise StudyError(
                f"there is no checkpoint with {name!r}; ask reporter.resume(...) "
                "first, which says whether there is one"
            )
        return found[1][name]

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"


def number(value: Any, name: str) -> float:
    """A metric's value as a number.

    Raises:
        StudyError: It is none.
    """
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        return float(value.detach())
    try:
        return float(value)
    except (TypeError, ValueError):
        raise StudyError(
            f"metric {name!r} must be a number, got {type(value).__name__}: {value!r}"
        ) from None
