"""Marks: the places of a graph where operations act, put there while it is made.

A mark is an action that does nothing but leave a node of its own in the graph, with
what came out of the component (and what went in, where an operation wants that). So
places are found by the backends that operate there, and mean the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from surgery.anatomy import Component, replaced
from surgery.anatomy._structure import walk
from surgery.ops import Clock, Edit, Inputs

_LIBRARY = torch.library.Library("surgery", "FRAGMENT")
_LIBRARY.define("mark(Tensor[] outputs, Tensor[] inputs, int number) -> Tensor[]")


def _unmarked(outputs: list[Tensor], inputs: list[Tensor], number: int) -> list[Tensor]:
    # Fresh memory: a graph may then write into what comes out, as into any value.
    return [output.clone() for output in outputs]


_LIBRARY.impl("mark", _unmarked, "CompositeExplicitAutograd")

MARK = torch.ops.surgery.mark.default


@dataclass(frozen=True)
class Mark:
    """One call of a marked component.

    Attributes:
        component: What was marked.
        children: From a container down to the child that stands for it, if any.
        index: Which call of the component it is.
        output: What came out, with stand-ins for tensors.
        inputs: What went in, likewise.
    """

    component: Component
    children: tuple[Component, ...]
    index: int
    output: object
    inputs: Inputs

    def act(
        self, edit: Edit, outputs: Sequence[Tensor], inputs: Sequence[Tensor]
    ) -> list[Tensor]:
        """What an operation makes of these tensors.

        Args:
            edit: The operation at the component.
            outputs: What came out of it.
            inputs: What went in.
        """
        for child in self.children:
            edit = edit.for_child(child)
        new = edit(
            _filled(self.output, outputs), _given(self.inputs, inputs), self.index
        )
        return [tensor for _, tensor in walk(new)]

    def __deepcopy__(self, memo: object) -> Mark:
        return self  # nothing in it changes, and stand-ins cannot be copied


class Marker:
    """The action that leaves marks."""

    def __init__(
        self,
        marks: list[Mark],
        component: Component,
        clock: Clock,
        *,
        wants_inputs: bool,
        children: tuple[Component, ...] = (),
    ) -> None:
        self.component = children[-1] if children else component
        self.clock = clock
        self.wants_inputs = wants_inputs
        self._marks = marks
        self._marked = component
        self._children = children

    def for_child(self, component: Component) -> Marker:
        """A marker of a child that stands for the component."""
        return Marker(
            self._marks,
            self._marked,
            self.clock,
            wants_inputs=self.wants_inputs,
            children=(*self._children, component),
        )

    def __call__(self, output: object, inputs: Inputs, index: int) -> object:
        found = [tensor for _, tensor in walk(output)]
        if not found:
            return output
        given = [tensor for _, tensor in walk(inputs)] if self.wants_inputs else []
        new = MARK(found, given, len(self._marks))
        kept = inputs if self.wants_inputs else ((), {})
        mark = Mark(self._marked, self._children, index, output, kept)
        self._marks.append(mark)
        return _filled(output, new)


def _filled(value: Any, tensors: Sequence[Tensor]) -> Any:
    """`value` with other tensors."""
    if isinstance(value, Tensor):
        return tensors[0]
    for (path, _), tensor in zip(list(walk(value)), tensors, strict=True):
        value = replaced(value, path, tensor)
    return value


def _given(inputs: Inputs, tensors: Sequence[Tensor]) -> Inputs:
    args, kwargs = _filled(inputs, tensors) if tensors else inputs
    return args, kwargs
