"""AbstractExecutor: runs trials somewhere, and says what came of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from surgery.study.execution import Listener, Recipe
from surgery.study.trials import Outcome, Request


@dataclass(frozen=True)
class Done:
    """A trial that has ended, one way or another.

    Attributes:
        trial: Its id.
        outcome: What came of it; with the failure `lost` if its worker ended.
    """

    trial: str
    outcome: Outcome


class AbstractExecutor(ABC):
    """Runs trials; knows neither storage nor policies.

    The driver calls `warm_up` and `open`, then `submit` and `wait` in turns from one
    thread, then `close`, also after errors. An executor owes:

    - every trial submitted is reported by `wait` exactly once, unless `close` comes
      first: a worker that ends takes its trial down as `Done` with the failure `lost`;
    - the listener is called from the driver's thread, inside `submit` or `wait`, and
      its answer reaches the trial; `run_trial` in the worker does the rest;
    - nothing runs on after `close`, nor after the driver has died.

    `surgery.testing` has the test of this contract.
    """

    name: str = ""

    @property
    @abstractmethod
    def capacity(self) -> int:
        """How many trials may run at once."""

    def warm_up(self) -> None:  # noqa: B027
        """Begin what takes long and needs no recipe; `open` follows, or only `close`.

        It is called before the study is checked, which takes seconds too.
        """

    @abstractmethod
    def open(self, recipe: Recipe, listener: Listener, *, answers: bool) -> None:
        """Get ready.

        Args:
            recipe: What all trials have in common.
            listener: Is told what trials log.
            answers: Whether trials wait for what the listener says; else they go on.

        Raises:
            StudyError: The recipe cannot be brought to where trials run.
        """

    @abstractmethod
    def submit(self, request: Request, *, one_step: bool = False) -> None:
        """Run a trial; called only while fewer than `capacity` are under way."""

    @abstractmethod
    def wait(self, timeout: float) -> Sequence[Done]:
        """Trials that have ended; waits for one at most so many seconds."""

    @abstractmethod
    def close(self) -> None:
        """End everything, also what is still running. A second call does nothing."""
