"""The clock: which forward of the model is running, and which calls are under way."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import nn

from surgery.anatomy import tensors
from surgery.ops._proof import Tally


class _Running:
    """What is under way in one forward: calls so far, inputs of calls not yet ended."""

    def __init__(self) -> None:
        self.calls: dict[int, int] = {}
        self.open: dict[int, list[Any]] = {}

    def clear(self) -> None:
        self.calls.clear()
        self.open.clear()


class Clock:
    """When we are: which forward of the model, which call of a component within it.

    Its `start` is a forward pre-hook of the model. Threads (DataParallel's replicas
    too) count their own calls.
    """

    def __init__(self) -> None:
        self.forwards = Tally()
        self.fixed: int | None = None
        self._local = threading.local()
        self._traced = _Running()

    def start(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """A forward of the model begins; what an interrupted one left is dropped."""
        self.forwards.add()
        self._running().clear()
        if not torch.compiler.is_compiling():
            self._traced.clear()
            first = next((x for x in tensors((args, kwargs)) if x.ndim), None)
            self._local.batch_size = None if first is None else first.shape[0]

    def tick(self, key: int) -> int:
        """The index of this call within the running forward."""
        calls = self._running().calls
        index = calls.get(key, 0)
        calls[key] = index + 1
        return index

    @property
    def batch_size(self) -> int | None:
        """Samples in the running forward, if it began at the model."""
        return getattr(self._local, "batch_size", None)

    def now(self) -> int:
        """A number for the running forward; the same for every variant of a sweep."""
        return int(self.forwards) if self.fixed is None else self.fixed

    def restart(self) -> None:
        """Count forwards from the beginning."""
        self.forwards = Tally()

    def enter(self, key: int, inputs: object = None) -> None:
        """A module's own call begins."""
        self._running().open.setdefault(key, []).append(inputs)

    def leave(self, key: int) -> Any:
        """A module's own call ends; gives what went into it."""
        return self._running().open[key].pop()

    def inside(self, key: int) -> bool:
        """Whether a module's own call is under way."""
        return bool(self._running().open.get(key))

    def _running(self) -> _Running:
        if torch.compiler.is_compiling():  # the tracer knows no thread-local storage
            return self._traced
        running: _Running | None = getattr(self._local, "running", None)
        if running is None:
            running = self._local.running = _Running()
        return running

    def __getstate__(self) -> dict[str, Any]:
        # Calls under way do not travel.
        return {**self.__dict__, "_local": None, "_traced": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._local = threading.local()
        self._traced = _Running()
