"""Variant: components with their operation and dial, ready to apply and to undo."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor, nn

from surgery._random import derive
from surgery.anatomy import Component
from surgery.backend import get_backend
from surgery.errors import OperationError
from surgery.ops import (
    AbstractNewValue,
    AbstractOperation,
    AbstractOutputOperation,
    Clock,
    Drawn,
    Edit,
    Freeze,
    Observer,
    Proof,
    acts_on_parameters,
    check_operation,
    dialled,
    freeze_component,
    lay,
    mode_name,
    tied_to,
)


class Variant:
    """One set of components under one operation: applied, measured, undone together.

    Making one changes nothing. `apply` may be called many times (a sweep applies every
    variant to every batch); what is drawn or computed beforehand is kept.

    Attributes:
        components: What it operates on, in the model's order.
        operation: What is done.
        edits: The output edits, one per component that has an output.
    """

    def __init__(
        self,
        model: nn.Module,
        components: Sequence[Component],
        operation: AbstractOperation,
        clock: Clock,
        *,
        dial: float = 1.0,
        seed: int = 0,
        strict: bool = False,
        backend: str = "auto",
        drawn: Drawn | None = None,
    ) -> None:
        for component in components:
            check_operation(operation, component, dial)
        self.components = tuple(components)
        self.operation = operation
        self._model = model
        self._dial = dial
        self._seed = seed
        self._backend = backend
        # On its own it keeps nothing: operations above it may come and go.
        self._drawn = Drawn(0) if drawn is None else drawn
        self.edits: list[Edit] = []
        self._owners: list[Component] = []
        for place, component in enumerate(components):
            if acts_on_parameters(operation, component):
                self._owners.append(component)
            elif isinstance(operation, AbstractOutputOperation):
                edit = Edit(
                    component,
                    operation,
                    clock,
                    dial=dial,
                    seed=seed,
                    place=place,
                    strict=strict,
                )
                self.edits.append(edit)
        self._values: dict[str, dict[Tensor, AbstractNewValue]] = {}
        self._tied: dict[str, str] = {}
        self._laid: dict[str, tuple[int, bool]] = {}

    @property
    def mode(self) -> str:
        """The operation's name in tables."""
        return mode_name(self.operation)

    def observers(self) -> list[Observer]:
        """What must watch a pass over data before this variant can be applied."""
        operation = self.operation
        if not isinstance(operation, AbstractOutputOperation):
            return []
        return [
            Observer(edit, derive(self._seed, "statistic"), self._backend)
            for edit in self.edits
            if operation.statistic(edit.component, 0) is not None
        ]

    def prepare(self) -> None:
        """Compute what can be computed before the model runs, once."""
        if isinstance(self.operation, Freeze):
            return
        taken: set[Tensor] = set()
        for component in self._owners:
            if component.name in self._values:
                continue
            values = self._drawn.values(
                self.operation, self._model, component, self._seed
            )
            # A tensor that two components share is operated on once.
            fresh = {t: v for t, v in values.items() if t not in taken}
            taken |= set(fresh)
            self._values[component.name] = fresh
            self._tied[component.name] = _tied(self._model, component, fresh)

    def apply(self) -> Callable[[], None]:
        """Put the operation in effect.

        Returns:
            What undoes it, exactly, and nothing else.
        """
        self.prepare()
        with ExitStack() as stack:
            for component in self._owners:
                if isinstance(self.operation, Freeze):
                    undo, count, changed = freeze_component(self._model, component)
                else:
                    values = self._values[component.name]
                    undo, count, changed = lay(values, self._dial)
                stack.callback(undo)
                self._laid[component.name] = count, changed
            for edit in self.edits:
                backend = get_backend(self._backend, edit.component)
                stack.callback(backend.attach(self._model, edit.component, edit))
            kept = stack.pop_all()  # not undone at the end of this block
        return kept.close

    def tensors(self) -> dict[Tensor, Callable[[], Tensor]]:
        """What makes the new values of the tensors that it changes, which stay."""
        self.prepare()
        return {
            tensor: partial(self._made, name, tensor, value)
            for name, values in self._values.items()
            for tensor, value in values.items()
        }

    def fired(self, component: Component) -> int:
        """How often the operation took part (tensors changed, for parameters)."""
        edit = self._edit(component)
        return (
            self._laid.get(component.name, (0, False))[0]
            if edit is None
            else (edit.fired)
        )

    def changed(self, component: Component) -> bool | None:
        """Whether it changed the component's own output, or its parameters."""
        edit = self._edit(component)
        return (
            self._laid.get(component.name, (0, False))[1]
            if edit is None
            else (edit.changed)
        )

    def note(self, component: Component) -> str:
        """What a user must know, such as the adapter that made an input fit."""
        edit = self._edit(component)
        if edit is not None:
            return edit.note
        values = self._values.get(component.name, {}).values()
        notes = [*(value.note for value in values), self._tied.get(component.name, "")]
        return "; ".join(dict.fromkeys(note for note in notes if note))

    def changes(self) -> frozenset[int]:
        """The tensors that it changes, by id; none for an operation on outputs."""
        self.prepare()
        return frozenset(id(t) for values in self._values.values() for t in values)

    def proofs(self) -> list[Proof]:
        """What tells of its edits, in an order that is the same in every process."""
        return [proof for edit in self.edits for proof in edit.proofs()]

    def never_fired(self) -> list[Component]:
        """Components whose edits have never been called."""
        return [edit.component for edit in self.edits if edit.fired == 0]

    def _made(self, name: str, tensor: Tensor, value: AbstractNewValue) -> Tensor:
        present = tensor.detach()
        new = dialled(present, value(present), self._dial)
        changed = self._laid.get(name, (0, False))[1]
        changed = changed or not torch.equal(new, present)
        self._laid[name] = len(self._values[name]), changed
        return new

    def _edit(self, component: Component) -> Edit | None:
        for edit in self.edits:
            if edit.component == component:
                return edit
        if component not in self._owners:
            raise OperationError(f"{component} is not part of this operation")
        return None


def _tied(model: nn.Module, component: Component, changed: Iterable[Tensor]) -> str:
    """Says what else changes with a component's tensors."""
    names = [name for tensor in changed for name in tied_to(model, component, tensor)]
    return f"tied: changes {', '.join(names)} too" if names else ""
