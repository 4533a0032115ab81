"""Memory: the outputs that are remembered at a time, within a budget of bytes."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, final

from surgery_backends.replay._outputs import storage

if TYPE_CHECKING:
    from surgery_backends.replay._record import Call


@final
class Memory:
    """Outputs that save the most time per byte, as many as the budget allows.

    On an accelerator the times are those of launching: it goes on by itself.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._bytes = 0
        self._users: dict[int, int] = {}
        self._kept: dict[int, Call] = {}
        self._worst: list[tuple[float, int]] = []

    def keep(self, call: Call) -> None:
        """Remember an output, perhaps in the place of others."""
        for tensor in call.held:
            key = storage(tensor)
            if not self._users.get(key):
                self._bytes += tensor.untyped_storage().nbytes()
            self._users[key] = self._users.get(key, 0) + 1
        size = sum(tensor.untyped_storage().nbytes() for tensor in call.held)
        self._kept[call.place] = call
        heapq.heappush(self._worst, (call.seconds / (size + 1), call.place))
        while self._bytes > self._budget and self._worst:
            _, place = heapq.heappop(self._worst)
            if place in self._kept:
                self.drop(self._kept[place])

    def drop(self, call: Call) -> None:
        """Forget an output."""
        if self._kept.pop(call.place, None) is None:
            return
        for tensor in call.held:
            key = storage(tensor)
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key]
                self._bytes -= tensor.untyped_storage().nbytes()
        call.output, call.held, call.versions = None, [], []

    def clear(self) -> None:
        """Forget all."""
        for call in self.calls():
            self.drop(call)
        self._worst.clear()

    def has(self, call: Call) -> bool:
        """Whether the call's output is remembered."""
        return self._kept.get(call.place) is call

    def calls(self) -> list[Call]:
        """The calls whose outputs are remembered."""
        return list(self._kept.values())
