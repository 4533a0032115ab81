"""Recording: whether this thread runs a model only to look at it.

What is in effect on the model stays out of such a forward: a record tells of the model
itself, so that its names and shapes do not depend on what is operated on meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

_STATE = threading.local()


def is_recording() -> bool:
    """Whether a recorded forward is under way."""
    return getattr(_STATE, "depth", 0) > 0


@contextmanager
def recording() -> Generator[None]:
    """Operations take no part in the forwards of the block."""
    _STATE.depth = getattr(_STATE, "depth", 0) + 1
    try:
        yield
    finally:
        _STATE.depth -= 1
