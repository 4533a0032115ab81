"""Records: every call of a module in a forward of the untouched model."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from surgery.anatomy import tensors
from surgery.errors import BackendError
from surgery_backends.replay._doors import has_hooks
from surgery_backends.replay._look import Look, alike, attributes, look, random_state
from surgery_backends.replay._memory import Memory
from surgery_backends.replay._outputs import can_be_cloned, can_be_kept, handed

END: Final = -1
"""The event of a call's end; that of a begin is the number of the module."""


@dataclass(eq=False)
class Call:
    """One call of a module.

    Attributes:
        place: Which call of the forward it is.
        number: Which module.
        begin: Its begin among the forward's events.
        end: Its end among them.
        parent: The call that was under way when it began.
        replayable: Whether running it has no effect but its output.
        hooked: Whether other modules with hooks, which must run, ran in it.
        output: What its forward gave, while that is remembered.
        versions: Those of the output's tensors when the call ended.
        cloned: Whether clones are remembered, as later code changes the output.
    """

    place: int
    number: int
    begin: int
    parent: Call | None
    end: int = -1
    replayable: bool = False
    hooked: bool = False
    output: Any = None
    held: list[Tensor] = field(default_factory=list[Tensor])
    versions: list[int] = field(default_factory=list[int])
    cloned: bool = False
    seconds: float = 0.0


@final
class Recorder:
    """Watches one forward of the untouched model and remembers what calls give.

    Args:
        modules: Those that have doors.
        root: The model, which always runs.
        memory: Where outputs are kept.
        changed: Calls whose outputs later code changes in place.
        moving: Attributes of modules that a forward changes.
        needed: The calls whose outputs may be asked for; `None` for all.
    """

    def __init__(
        self,
        modules: list[nn.Module],
        root: nn.Module,
        memory: Memory,
        changed: Collection[int],
        moving: Collection[tuple[nn.Module, str]],
        needed: Collection[int] | None,
    ) -> None:
        self.events: list[int] = []
        self.calls: list[Call] = []
        self._modules = modules
        self._root = root
        self._memory = memory
        self._changed = changed
        self._moving = moving
        self._needed = needed
        self._open: list[Call] = []

    def pass_by(
        self,
        number: int,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        drawn = None if self._open else random_state()
        parent = self._open[-1] if self._open else None
        call = Call(len(self.calls), number, len(self.events), parent)
        self.events.append(number)
        self.calls.append(call)
        self._open.append(call)
        before, state = look((args, kwargs)), self._state()
        began = time.perf_counter()
        try:
            output = forward(*args, **kwargs)
        except BaseException:
            self._end(call)
            raise
        call.seconds = time.perf_counter() - began
        self._end(call)
        if drawn is not None and drawn != random_state():
            raise BackendError(
                "the model draws random numbers in its forward, so that a call of a "
                "module cannot be left out: those after it would draw others; "
                "variants are run in full"
            )
        self._judge(call, output, (args, kwargs), before, state)
        return output

    def _end(self, call: Call) -> None:
        self._open.pop()
        call.end = len(self.events)
        self.events.append(END)
        if call.parent is not None:
            hooked = call.hooked or has_hooks(self._modules[call.number])
            call.parent.hooked = call.parent.hooked or hooked

    def _state(self) -> list[Look]:
        return [attributes(module, key) for module, key in self._moving]

    def _judge(
        self, call: Call, output: Any, given: Any, before: Look, state: list[Look]
    ) -> None:
        call.replayable = (
            self._modules[call.number] is not self._root
            and not call.hooked
            and can_be_kept(output)
            and alike(before, look(given))
            and all(map(alike, state, self._state()))
            # What is made inside of vmap and the like is of no use outside of it.
            and torch._C._functorch.peek_interpreter_stack() is None  # pyright: ignore
        )
        if not call.replayable:
            return
        call.cloned = call.place in self._changed
        if call.cloned and not can_be_cloned(output, given):
            call.replayable = False
        elif self._needed is None or call.place in self._needed:
            call.output = handed(output, torch.clone if call.cloned else _itself)
            call.held = tensors(call.output)
            call.versions = [tensor._version for tensor in call.held]
            self._memory.keep(call)

    def changed_since(self) -> set[int]:
        """Which remembered outputs have changed in place; they are forgotten."""
        found = [c for c in self._memory.calls() if _versions(c) != c.versions]
        for call in found:
            self._memory.drop(call)
        return {call.place for call in found}


def _itself(tensor: Tensor) -> Tensor:
    return tensor


def _versions(call: Call) -> list[int]:
    return [tensor._version for tensor in call.held]
