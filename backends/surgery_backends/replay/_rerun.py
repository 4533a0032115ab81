"""Reruns: a forward with a trial in effect, in which remembered calls do not run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, final

import torch
from torch import Tensor

from surgery.ops import Edit
from surgery_backends.replay._memory import Memory
from surgery_backends.replay._outputs import handed
from surgery_backends.replay._record import END, Call


@final
class Rerun:
    """Watches a forward and answers for calls that ended before a trial takes part.

    Hooks of a module that does not run are run: what they get is what its own
    `forward` gave.

    Attributes:
        lost: Whether the forward was not as recorded, so that it does not count.

    Args:
        events: Those of the untouched forward.
        calls: Those of the untouched forward.
        memory: What is remembered of it.
        start: The event before which the trial takes no part.
        blocked: Calls in which something must be counted, so that they run.
        edits: The trial's, none of which may fire before.
    """

    def __init__(
        self,
        events: list[int],
        calls: Sequence[Call],
        memory: Memory,
        start: int,
        blocked: Collection[int],
        edits: Sequence[Edit],
    ) -> None:
        self.lost = False
        self._events = events
        self._at = {call.begin: call for call in calls}
        self._memory = memory
        self._start = min(start, len(events))
        self._blocked = blocked
        self._edits = edits
        self._fired = self._firings()
        self._position = 0
        self._live = True
        self._handed: list[tuple[Call, Tensor, int]] = []

    def pass_by(
        self,
        number: int,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        if not self._live:
            return forward(*args, **kwargs)
        if self._events[self._position] != number:
            self._lose()
            return forward(*args, **kwargs)
        call = self._at[self._position]
        if (
            call.end < self._start
            and call.place not in self._blocked
            and self._memory.has(call)
        ):
            self._move_to(call.end + 1)
            return handed(call.output, lambda tensor: self._hand(call, tensor))
        self._move_to(self._position + 1)
        try:
            return forward(*args, **kwargs)
        finally:
            if self._live and self._events[self._position] != END:
                self._lose()
            elif self._live:
                self._move_to(self._position + 1)

    def finish(self) -> set[int]:
        """The forward is over; gives the calls whose output was changed in place."""
        if self._live:
            self._lose()  # it was shorter than the untouched one
        changed = {c.place: c for c, t, version in self._handed if t._version > version}
        for call in changed.values():
            self._memory.drop(call)
        self.lost = self.lost or bool(changed)
        return set(changed)

    def _move_to(self, position: int) -> None:
        self._position = position
        if position >= self._start:
            self._live = False
            # It takes part after this event, and not before.
            self.lost = self.lost or self._firings() != self._fired

    def _lose(self) -> None:
        self._live, self.lost = False, True

    def _firings(self) -> int:
        return sum(edit.fired for edit in self._edits)

    def _hand(self, call: Call, tensor: Tensor) -> Tensor:
        if call.cloned:
            return torch.clone(tensor)
        self._handed.append((call, tensor, tensor._version))
        return tensor
