"""Frame: one running call of a module, and what its own code did so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn


@dataclass(slots=True, eq=False)
class Frame:
    """One call of a module.

    Attributes:
        module: The module.
        path: Its path.
        call: Which call of it within the outermost module's call.
        parent: The call whose code called it.
        given: Identities of the tensors that went in.
        first: How many nodes the data's graph had when the call began.
        counts: How often its own code called each function so far.
        residuals: How many residual adds its own code did so far.
        gates: Likewise gates.
        own: Whether its own code runs now, and not a hook.
    """

    module: nn.Module
    path: str
    call: int
    parent: Frame | None
    given: frozenset[int] = frozenset()
    first: int = 0
    counts: dict[str, int] = field(default_factory=dict[str, int])
    residuals: int = 0
    gates: int = 0
    own: bool = True

    def child_towards(self, inner: Frame) -> Frame | None:
        """The call that this one's code made and that `inner` belongs to, if any."""
        at: Frame | None = inner
        while at is not None and at.parent is not self:
            at = at.parent
        return at
