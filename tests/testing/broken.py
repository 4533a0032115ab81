"""Third-party backends that each break one thing, around one that does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from surgery.anatomy import Component, mapped
from surgery.backend import AbstractBackend, Action, get_backend
from surgery.errors import BackendError


class Honest(AbstractBackend):
    """A third party's backend that keeps the contract: modules only, by the hooks."""

    name: ClassVar[str] = "mine"

    def covers(self, component: Component) -> bool:
        return component.kind == "module"

    def attach(
        self, model: nn.Module, component: Component, action: Action
    ) -> Callable[[], None]:
        return get_backend("hooks").attach(model, component, action)


class Wrapped:
    """An action with one thing changed about it."""

    def __init__(self, action: Any) -> None:
        self.action = action

    def __getattr__(self, name: str) -> Any:
        if name == "action":
            raise AttributeError(name)
        return getattr(self.action, name)

    def __call__(self, output: object, inputs: Any, index: int) -> object:
        return self.action(output, inputs, index)


def wrapping(kind: Callable[[Any], Any]) -> type[AbstractBackend]:
    class Broken(Honest):
        def attach(
            self, model: nn.Module, component: Component, action: Any
        ) -> Callable[[], None]:
            return super().attach(model, component, kind(action))

    return Broken


class _Detaching(Wrapped):
    def __call__(self, output: object, inputs: Any, index: int) -> object:
        return mapped(super().__call__(output, inputs, index), torch.detach)


class _Twice(Wrapped):
    def __call__(self, output: object, inputs: Any, index: int) -> object:
        self.action(output, inputs, index)
        return self.action(output, inputs, index)


class _Unchanged(Wrapped):
    def __call__(self, output: object, inputs: Any, index: int) -> object:
        self.action(output, inputs, index)
        return output


class _FirstForwardOnly(Wrapped):
    done = False

    def __call__(self, output: object, inputs: Any, index: int) -> object:
        if self.done:
            return output
        self.done = True
        return self.action(output, inputs, index)


class _BlindToInputs(Wrapped):
    def __call__(self, output: object, inputs: Any, index: int) -> object:
        return self.action(output, (tuple(map(torch.zeros_like, inputs[0])), {}), index)


class _Unpicklable(Wrapped):
    def __init__(self, action: Any) -> None:
        super().__init__(action)
        self.closure = lambda: None


class _EvalOnly(Wrapped):
    model: ClassVar[nn.Module]

    def __call__(self, output: object, inputs: Any, index: int) -> object:
        if self.model.training:
            self.action(output, inputs, index)
            return output
        return self.action(output, inputs, index)


class EvalOnly(Honest):
    def attach(
        self, model: nn.Module, component: Component, action: Any
    ) -> Callable[[], None]:
        wrapped: Any = type("_", (_EvalOnly,), {"model": model})(action)
        return super().attach(model, component, wrapped)


class Nothing(Honest):
    def attach(
        self, model: nn.Module, component: Component, action: Action
    ) -> Callable[[], None]:
        return lambda: None


class LeavesAHook(Honest):
    def attach(
        self, model: nn.Module, component: Component, action: Action
    ) -> Callable[[], None]:
        model.get_submodule(component.path).register_forward_hook(print_nothing)
        return super().attach(model, component, action)


def print_nothing(module: nn.Module, args: object, output: object) -> None:
    """A hook that does nothing."""


class AddsAModule(Honest):
    def attach(
        self, model: nn.Module, component: Component, action: Action
    ) -> Callable[[], None]:
        model.register_module("mine", nn.Linear(1, 1, dtype=torch.float64))
        undo = super().attach(model, component, action)

        def remove() -> None:
            undo()
            del model.mine

        return remove


class TouchesWeights(Honest):
    def attach(
        self, model: nn.Module, component: Component, action: Action
    ) -> Callable[[], None]:
        undo = super().attach(model, component, action)

        def remove() -> None:
            undo()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.mul_(1 + 1e-15)

        return remove


class LastOneFirst(Honest):
    """Undoes whatever was attached last, whoever asks."""

    stack: ClassVar[list[Callable[[], None]]] = []

    def attach(
        self, model: nn.Module, component: Component, action: Action
    ) -> Callable[[], None]:
        self.stack.append(super().attach(model, component, action))
        return lambda: self.stack.pop()()


class SwallowsErrors(Honest):
    def attach(
        self, model: nn.Module, component: Component, action: Action
    ) -> Callable[[], None]:
        undo = super().attach(model, component, action)
        forward = model.forward

        def quiet(*args: Any, **kwargs: Any) -> Any:
            try:
                return forward(*args, **kwargs)
            except ZeroDivisionError as error:
                raise BackendError("something went wrong") from error

        model.__dict__["forward"] = quiet

        def remove() -> None:
            undo()
            model.__dict__.pop("forward", None)

        return remove


class AllCalls(Honest):
    """Knows no calls: acts at every one."""

    def attach(
        self, model: nn.Module, component: Component, action: Action
    ) -> Callable[[], None]:
        everywhere = Component(component.path, "module", component.path)
        return super().attach(model, everywhere, action)


class Raises(Honest):
    def attach(
        self, model: nn.Module, component: Component, action: Action
    ) -> Callable[[], None]:
        raise KeyError("no such thing")


class WrongShape(Wrapped):
    def __call__(self, output: object, inputs: Any, index: int) -> object:
        edited = super().__call__(output, inputs, index)
        return edited[:1] if isinstance(edited, Tensor) else edited


BREAKAGES: dict[str, tuple[type[AbstractBackend], str, str]] = {
    "never acts": (Nothing, "value", "called 0 times in a forward"),
    "acts twice": (wrapping(_Twice), "value", "called 2 times in a forward"),
    "drops the result": (wrapping(_Unchanged), "value", "differs by .* by hand"),
    "gives another shape": (wrapping(WrongShape), "value", "shape"),
    "cuts the gradient": (wrapping(_Detaching), "gradient", "gradient of .* differs"),
    "acts once": (wrapping(_FirstForwardOnly), "copied|in order|nested", "differs by"),
    "hides the inputs": (wrapping(_BlindToInputs), "value", "differs by"),
    "cannot be pickled": (wrapping(_Unpicklable), "copied", "pickle"),
    "ignores train mode": (EvalOnly, "train mode", "in train mode"),
    "leaves a hook": (LeavesAHook, "restored", "_forward_hooks of .* was . and is ."),
    "adds a module": (AddsAModule, "restored", "keys of state_dict"),
    "touches weights": (TouchesWeights, "restored", "value of .* was a tensor"),
    "undoes the wrong one": (LastOneFirst, "nested", "first of two operations"),
    "hides errors": (SwallowsErrors, "error", "became BackendError"),
    "knows no calls": (AllCalls, "value", "called 2 times .* runs 1 times"),
    "raises": (Raises, "value", "KeyError: 'no such thing' .broken.py:"),
}
"""What each breaks, the check that tells, and in which words."""
