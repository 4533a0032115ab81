"""The heap: what was freed goes back to the system before a budget is exceeded.

The C library keeps memory that is freed, in pieces of sizes that the next values do not
have: a process can grow to several times the bytes that it ever held at once.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import final

from torch import nn

_STATM = Path("/proc/self/statm")
_MOST = 3 / 4
"""Of the budget: beyond it, memory is given back."""
_STEP = 1 / 16
"""Of the budget: so much is taken between two looks."""


@final
class Heap:
    """Keeps what a process grows by within a budget, while values come and go.

    Args:
        budget: Bytes that the process may grow by.
        resident: Tells how many bytes the process has at present.
        give_back: Gives what is free back to the system.
    """

    def __init__(
        self, budget: int, resident: Callable[[], int], give_back: Callable[[], object]
    ) -> None:
        self._resident = resident
        self._give_back = give_back
        self._most = int(budget * _MOST)
        self._step = max(1, int(budget * _STEP))
        self._base: int | None = None
        self._limit = self._most
        self._taken = 0

    def begin(self) -> None:
        """A program begins to run."""
        now = self._resident()
        if self._base is None:
            self._base = now
        elif now - self._base > self._most:
            self._give_back()
            now = self._resident()
            if now - self._base > self._most:  # it is others who have it
                self._base = now
        self._base = min(self._base, now)
        self._limit = self._most
        self._taken = 0

    def took(self, size: int) -> None:
        """A value of so many bytes has been made."""
        self._taken += size
        if self._taken < self._step or self._base is None:
            return
        self._taken = 0
        if self._resident() - self._base > self._limit:
            self._give_back()
            # What is left is in use: no further try until there is more than that.
            left = self._resident() - self._base
            self._limit = max(self._most, left + self._step)


def heap_within(budget: int, model: nn.Module) -> Heap | None:
    """A heap of this process; none where the system has no way to see or do it.

    Nor for a model elsewhere: the budget is then none of this memory.
    """
    give_back = _trim()
    here = all(parameter.device.type == "cpu" for parameter in model.parameters())
    if give_back is None or not here or not _STATM.exists():
        return None
    return Heap(budget, _resident, give_back)


def _resident() -> int:
    pages = int(_STATM.read_bytes().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@cache
def _trim() -> Callable[[], object] | None:
    try:
        trim = ctypes.CDLL(None).malloc_trim  # of glibc alone
    except (AttributeError, OSError, TypeError):
        return None
    return lambda: trim(0)
