"""The clock: which forward of the model is running, and which calls are under way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import nn

from surgery.anatomy import input_fields, is_recording, tensors
from surgery.ops._proof import Tally

_SWEPT: ContextVar[int | None] = ContextVar("number of the batch swept", default=None)


@contextmanager
def sweeping(number: int) -> Generator[None]:
    """Let every operation draw alike in this block, whenever it was put in effect."""
    token = _SWEPT.set(number)
    try:
        yield
    finally:
        _SWEPT.reset(token)


class _Running:
    """What is under way in one forward: calls so far, inputs of calls not yet ended."""

    def __init__(self) -> None:
        self.under_way = False
        self.calls: dict[int, int] = {}
        self.open: dict[int, list[Any]] = {}

    def clear(self) -> None:
        self.calls.clear()
        self.open.clear()


class Clock:
    """When we are: which forward of the model, which call of a component within it.

    Its `start` and `end` are forward hooks of the model. Threads (DataParallel's
    replicas too) count their own calls.
    """

    def __init__(self) -> None:
        self.forwards = Tally()
        self._local = threading.local()
        self._traced = _Running()
        self._root_is_traced = False

    def watch(self, model: nn.Module) -> Callable[[], None]:
        """Follow the forwards of `model`.

        Returns:
            What stops it.
        """
        start = model.register_forward_pre_hook(self.start, with_kwargs=True)
        # Also after an exception.
        end = model.register_forward_hook(self.end, always_call=True)
        stack = ExitStack()
        stack.callback(start.remove)
        stack.callback(end.remove)
        return stack.close

    def start(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """A forward of the model begins; what an interrupted one left is dropped."""
        if torch.compiler.is_compiling() or not is_recording():
            self.forwards.add()
        self._root_is_traced = torch.compiler.is_compiling()
        self._traced.clear()
        self._traced.under_way = True
        if not self._root_is_traced:
            running = self._running()
            running.clear()
            running.under_way = True
            # In the order of the signature, as the recorder has it.
            given = input_fields(module, args, kwargs) if kwargs else args
            first = next((x for x in tensors(given) if x.ndim), None)
            self._local.batch_size = None if first is None else first.shape[0]

    def end(self, module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        """A forward of the model ends, or has failed."""
        self._running().under_way = False
        self._traced.under_way = False
        self._root_is_traced = False

    @property
    def under_way(self) -> bool:
        """Whether a forward of the model is: outside of one, calls have no index."""
        return self._running().under_way

    def tick(self, key: int) -> int:
        """The index of this call within the running forward.

        Outside of a forward it only tells calls apart.
        """
        running = self._running()
        if torch.compiler.is_compiling() and not running.under_way:
            return 0  # a growing number would be compiled anew at every call
        calls = running.calls
        index = calls.get(key, 0)
        calls[key] = index + 1
        return index

    @property
    def batch_size(self) -> int | None:
        """Samples in the running forward, if it began at the model."""
        return getattr(self._local, "batch_size", None)

    def now(self) -> int:
        """A number for the running forward; the same for every variant of a sweep."""
        swept = _SWEPT.get()
        return int(self.forwards) if swept is None else swept

    def restart(self) -> None:
        """Count forwards from the beginning."""
        self.forwards = Tally()
        self._running().under_way = self._traced.under_way = False

    def enter(self, key: int, inputs: object = None) -> None:
        """A module's own call begins."""
        self._running().open.setdefault(key, []).append(inputs)

    def entered(self, key: int) -> Any:
        """What went into a module's own call, which is under way."""
        return self._running().open[key][-1]

    def leave(self, key: int) -> None:
        """A module's own call ends, or has failed, perhaps before it was entered."""
        calls = self._running().open.get(key)
        if calls:
            calls.pop()

    def inside(self, key: int) -> bool:
        """Whether a module's own call is under way."""
        return bool(self._running().open.get(key))

    def _running(self) -> _Running:
        # The tracer knows no thread-local storage.
        if self._root_is_traced or torch.compiler.is_compiling():
            return self._traced
        running: _Running | None = getattr(self._local, "running", None)
        if running is None:
            running = self._local.running = _Running()
        return running

    def __getstate__(self) -> dict[str, Any]:
        # Calls under way do not travel.
        left = {"_local": None, "_traced": None, "_root_is_traced": False}
        return {**self.__dict__, **left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._local = threading.local()
        self._traced = _Running()
