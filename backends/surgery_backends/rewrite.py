"""The rewrite backend: joins, functions and heads, by rewriting their module's code.

The code of the module that an action is in is traced into a graph (torch.fx's, every
module call in it one node), the action is put at its place in the graph, and the code
that torch.fx writes from it becomes the instance's `forward`. No function is
intercepted while it runs. It is traced at the module's first call, whose inputs tell
what is a tensor and which way the code goes, and again when that changes: the mode, the
kind of an argument, a size that the code branches on, an attribute. What it reads of
Python's globals (and of generators of its own) is taken to stay as it was then. Code
that cannot be traced, or that goes one way or the other by chance, is refused by cause.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import ClassVar, final

from torch import nn

from surgery.anatomy import Component
from surgery.backend import AbstractBackend, Action
from surgery.errors import BackendError
from surgery_backends._rewritten import install
from surgery_backends._taps import SiteTap, Tap

_KINDS = frozenset(
    ("skip", "branch", "add", "gate", "mul", "cat", "stack", "function", "head")
)


@final
class RewriteBackend(AbstractBackend):
    """Joins, functions and heads, by rewriting their module's code."""

    name: ClassVar[str] = "rewrite"

    def covers(self, component: Component) -> bool:
        return component.kind in _KINDS

    def attach(
        self, model: nn.Module, component: Component, action: Action
    ) -> Callable[[], None]:
        place = component.place
        if place is None:
            raise BackendError(
                f"where {component} is in the code only a recorded forward tells, "
                "which backend='rewrite' needs beforehand; pass inputs= with an "
                "example input, or use backend='scoped'"
            )
        tap = Tap(action, component)
        with ExitStack() as stack:
            for site in place.sites:
                owner = model.get_submodule(site.path)
                stack.callback(install(owner, SiteTap(tap, site, place.projected)))
            kept = stack.pop_all()  # not undone at the end of this block
        return kept.close
