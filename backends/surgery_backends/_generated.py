"""Whether a function is called by a compiled graph, in which it was dealt with before.

A graph that torch.compile made may run while the function mode is on: for a compiled
module inside of an owner, and after a graph break. What it calls is not an owner's own
code (the tracer has seen that), but comes out of the same functions.
"""

from __future__ import annotations

import sys
from types import FrameType

import torch.nn.functional as F
import torch.overrides
from torch import Tensor, fx

# Functions of torch that are written in Python stand between graph and function mode.
_BETWEEN = frozenset(
    {
        torch.overrides.handle_torch_function.__code__.co_filename,
        F.relu.__code__.co_filename,
        Tensor.norm.__code__.co_filename,
    }
)


def called_by_graph() -> bool:
    """Whether the caller of the function mode's method is a compiled graph."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename in _BETWEEN:
        frame = frame.f_back
    if frame is None:
        return False
    name = frame.f_code.co_filename
    if not name.startswith("<eval_with_key>"):
        return "torchinductor" in name
    graph = frame.f_locals.get("self")
    # A graph that a user made has no such mark.
    return isinstance(graph, fx.GraphModule) and hasattr(
        graph, "compile_subgraph_reason"
    )
