"""Tape: calls of functions in order, run with every value kept no longer than needed.

torch.fx would do, but a program for hundreds of variants has a hundred thousand calls,
which take minutes and hundreds of megabytes as nodes of torch.fx.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from surgery_backends.fused._heap import Heap

Resolve = Callable[[list[Any], tuple[int, ...], tuple[Any, ...]], tuple[Any, ...]]


class Slot:
    """Stands for a value that a tape makes."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index


@dataclass(slots=True)
class Step:
    """One call.

    Attributes:
        function: What is called.
        args: Its positional arguments, with slots among them.
        kwargs: Its keyword arguments.
        out: Where the value goes.
        frees: Which values nothing needs afterwards.
        size: Bytes of new memory that the value takes; 0 for a view.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    out: int
    size: int = 0
    frees: tuple[int, ...] = ()
    resolve: Resolve | None = None
    slots: tuple[int, ...] = ()
    constants: tuple[Any, ...] = ()


@dataclass
class Tape:
    """Calls in order.

    Attributes:
        steps: The calls.
        inputs: Where inputs go, in order.
        held: Values that stay, by place.
        count: How many places there are.
    """

    steps: list[Step] = field(default_factory=list[Step])
    inputs: list[int] = field(default_factory=list[int])
    held: dict[int, Any] = field(default_factory=dict[int, Any])
    count: int = 0

    def placeholder(self) -> Slot:
        """The next input."""
        slot = self._slot()
        self.inputs.append(slot.index)
        return slot

    def hold(self, value: Any) -> Slot:
        """A value that is there from the beginning."""
        slot = self._slot()
        self.held[slot.index] = value
        return slot

    def call(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None = None,
        size: int = 0,
    ) -> Slot:
        """Call a function whose value takes `size` bytes of new memory."""
        slot = self._slot()
        self.steps.append(Step(function, tuple(args), kwargs or {}, slot.index, size))
        return slot

    def close(self) -> None:
        """All calls are known: from here on it can be run."""
        seen: set[int] = set(self.held)
        for step in reversed(self.steps):
            used = {slot.index for slot in slots_in((step.args, step.kwargs))}
            step.frees = tuple({*used, step.out} - seen)
            seen |= used
            values = (*step.args, *step.kwargs.values())
            pattern, slots, constants = _pattern(values)
            step.resolve, step.slots, step.constants = (
                _resolver(pattern),
                slots,
                constants,
            )

    def run(self, inputs: Sequence[Any], heap: Heap | None = None) -> None:
        """Make all calls; what they are to give to others, they do themselves."""
        if heap is not None:
            heap.begin()
        values: list[Any] = [None] * self.count
        for index, value in self.held.items():
            values[index] = value
        for index, value in zip(self.inputs, inputs, strict=True):
            values[index] = value
        del inputs
        for step in self.steps:
            args = step.resolve(values, step.slots, step.constants)  # type: ignore[misc]
            if step.kwargs:
                count = len(step.args)
                named = dict(zip(step.kwargs, args[count:], strict=True))
                values[step.out] = step.function(*args[:count], **named)
            else:
                values[step.out] = step.function(*args)
            del args
            for index in step.frees:
                values[index] = None
            if heap is not None and step.size:
                heap.took(step.size)

    def _slot(self) -> Slot:
        slot = Slot(self.count)
        self.count += 1
        return slot


def slots_in(value: Any) -> Iterator[Slot]:
    """The slots among arguments."""
    if isinstance(value, Slot):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in cast("Sequence[Any]", value):
            yield from slots_in(item)
    elif isinstance(value, Mapping):
        for item in cast("Mapping[str, Any]", value).values():
            yield from slots_in(item)


def _pattern(values: Sequence[Any]) -> tuple[str, tuple[int, ...], tuple[Any, ...]]:
    """How arguments are put together, apart from what they are."""
    slots: list[int] = []
    constants: list[Any] = []

    def spelled(value: Any) -> str:
        if isinstance(value, Slot):
            slots.append(value.index)
            return f"v[s[{len(slots) - 1}]]"
        if isinstance(value, (tuple, list)) and next(slots_in(value), None):
            items = ", ".join(map(spelled, cast("Sequence[Any]", value)))
            return f"[{items}]"
        constants.append(value)
        return f"c[{len(constants) - 1}]"

    text = "".join(f"{spelled(value)}, " for value in values)
    return f"({text})", tuple(slots), tuple(constants)


_RESOLVERS: dict[str, Resolve] = {}


def _resolver(pattern: str) -> Resolve:
    if pattern not in _RESOLVERS:
        _RESOLVERS[pattern] = eval(f"lambda v, s, c: {pattern}")  # of our own text
    return _RESOLVERS[pattern]
