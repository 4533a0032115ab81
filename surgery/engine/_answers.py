"""Answers: a model that returns what is known of it, in place of running."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from surgery.errors import BackendError
from surgery.graphs import is_ours


@dataclass(frozen=True)
class Asked:
    """The inputs with which a step called the model."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class _Stop(BaseException):  # no Exception: a step's own `except` must not see it
    pass


@contextmanager
def answering(model: nn.Module, answer: Callable[..., Any]) -> Generator[None]:
    """Have the model return what `answer` does, wherever it is called."""
    own = model.__dict__.get("forward")
    model.__dict__["forward"] = answer
    try:
        yield
    finally:
        if own is None:
            del model.__dict__["forward"]
        else:
            model.__dict__["forward"] = own


def asked(model: nn.Module, step: Callable[[], Any]) -> Asked:
    """With what inputs a step calls the model; the step goes no further.

    Raises:
        BackendError: It does not call it.
    """
    found: list[Asked] = []

    def stop(*args: Any, **kwargs: Any) -> Any:
        found.append(Asked(args, kwargs))
        raise _Stop

    try:
        with answering(model, stop):
            step()
    except _Stop:
        return found[0]
    raise BackendError("the step does not call the model")


def require_no_hooks(model: nn.Module) -> None:
    """Refuse a model with hooks on itself: they would change an answer once more.

    Raises:
        BackendError: It has some.
    """
    hooks = (*model._forward_pre_hooks.values(), *model._forward_hooks.values())
    if not all(map(is_ours, hooks)):
        raise BackendError("the model has forward hooks on itself")


@contextmanager
def one_call(model: nn.Module) -> Generator[list[str]]:
    """Note in this block what shows that the model's one output is not all there is.

    Yields:
        Filled at the end of the block: why answers could not stand for the model.
    """
    reasons: list[str] = []
    parts = set(model.modules())
    begun: list[int] = []
    inside = 0

    def before(module: nn.Module, args: tuple[Any, ...]) -> None:
        nonlocal inside
        if module is model:
            if not inside:
                begun.append(1)
            inside += 1
        elif not inside and module in parts:
            reasons.append("the step calls parts of the model by themselves")

    def after(module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        nonlocal inside
        inside = max(0, inside - 1)

    handle = register_module_forward_pre_hook(before)
    end = model.register_forward_hook(after, always_call=True)
    try:
        yield reasons
    finally:
        handle.remove()
        end.remove()
        if len(begun) != 1:
            reasons.append(f"the step calls the model {len(begun)} times")
