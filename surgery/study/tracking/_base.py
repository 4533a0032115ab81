"""AbstractTracker: is told of every trial as it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from surgery.errors import StudyError
from surgery.study.trials import Outcome, Request

_BUILT_IN: Mapping[str, str] = {
    "tensorboard": "surgery.study.tracking._tensorboard:TensorBoard",
}


class AbstractTracker(ABC):
    """Shows trials elsewhere; called by the driver, from one thread.

    A tracker that raises is reported once and left out from then on: the study goes
    on, and its own storage has everything.
    """

    @abstractmethod
    def open(self, study: str, folder: Path) -> None:
        """Get ready; `folder` is the study's."""

    @abstractmethod
    def start(self, request: Request, attempt: int) -> None:
        """A trial starts, for the so manieth time."""

    @abstractmethod
    def log(self, trial: str, step: float, metrics: Mapping[str, float]) -> None:
        """A running trial logged something."""

    @abstractmethod
    def finish(self, trial: str, outcome: Outcome) -> None:
        """A trial is final."""

    @abstractmethod
    def close(self) -> None:
        """Nothing comes any more."""


def known_trackers() -> tuple[str, ...]:
    return tuple(_BUILT_IN)


def make_tracker(tracker: str | AbstractTracker) -> AbstractTracker:
    """The tracker, if it is one, or the built-in one of that name."""
    if isinstance(tracker, AbstractTracker):
        return tracker
    if tracker not in _BUILT_IN:
        raise StudyError(
            f"unknown tracker {tracker!r}; there is {', '.join(map(repr, _BUILT_IN))}, "
            "and subclasses of surgery.study.AbstractTracker"
        )
    module, _, name = _BUILT_IN[tracker].partition(":")
    made: AbstractTracker = getattr(import_module(module), name)()
    return made
