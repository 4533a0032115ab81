"""Observers: what gathers an edit's statistics while a model runs over data."""

from __future__ import annotations

import copy

from surgery.anatomy import Component, find_main
from surgery.errors import OperationError
from surgery.ops._base import AbstractStatistic
from surgery.ops._edit import Edit, Inputs, require_samples


class Observer:
    """Gathers an edit's statistics, call by call, and changes nothing.

    Attributes:
        component: Where it watches.
        backend: Name of the backend that places it.
        paused: Whether what passes goes unseen.
    """

    wants_inputs = False

    def __init__(self, edit: Edit, seed: int, backend: str = "auto") -> None:
        self.component = edit.component
        self.clock = edit.clock
        self.backend = backend
        self.paused = False
        self._edit = edit
        self._seed = seed
        self._saved: dict[int, AbstractStatistic] = {}
        self._children: dict[str, Observer] = {}

    def __call__(self, output: object, inputs: Inputs, index: int) -> object:
        if self.paused:
            return output
        found = find_main(output)
        if found is None:
            raise OperationError(
                f"no tensor comes out of {self.component}: it has no statistic"
            )
        require_samples(self._edit.operation, self.component, found[1])
        statistics = self._edit.statistics
        if not self.clock.under_way:
            index = 0
        if index not in statistics:
            fresh = self._edit.operation.statistic(self.component, self._seed)
            if fresh is None:
                return output
            statistics[index] = fresh
        statistics[index].update(found[1], self.clock.batch_size)
        return output

    def for_child(self, component: Component) -> Observer:
        """The same observer at a child of its component."""
        if component.name not in self._children:
            edit = self._edit.for_child(component)
            child = Observer(edit, self._seed, self.backend)
            self._children[component.name] = child
        return self._children[component.name]

    def save(self) -> None:
        """Remember what was gathered so far."""
        statistics = self._edit.statistics
        self._saved = {index: copy.copy(s) for index, s in statistics.items()}
        for child in self._children.values():
            child.save()

    def forget(self) -> None:
        """Go back to what was saved."""
        self._edit.statistics.clear()
        self._edit.statistics.update(self._saved)
        self.save()
        for child in self._children.values():
            child.forget()

    def finish(self) -> None:
        """The pass over data has ended."""
        for statistic in self._edit.statistics.values():
            statistic.finish()
        for child in self._children.values():
            child.finish()
