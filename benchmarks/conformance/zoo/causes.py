"""Causes why `zero` may change nothing or be refused, each checked in the model."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import surgery
from benchmarks.conformance.zoo.subject import Item, Subject
from surgery import Component
from surgery.anatomy import Site, function_name, mapped
from surgery.anatomy._functions import gives_tensor
from surgery.errors import BackendError, NoEffectError, TargetError


def of_refusal(subject: Subject, item: Item, error: Exception) -> str:
    """The cause of a refusal if it is known and true of the model, else empty."""
    part = item.part
    if part is None or part.kind != "module":
        return ""
    calls = subject.calls[part.path]
    module = subject.model.get_submodule(part.path)
    if isinstance(module, torch.jit.ScriptModule):
        return "TorchScript module" if isinstance(error, BackendError) else ""
    if isinstance(error, NoEffectError | TargetError) and not calls.count:
        if subject.inside(part.path):
            return ""
        owned = next(module.parameters(), None) is not None
        bypassed = part.facts is not None and "bypassed" in part.facts.note
        if bypassed and owned:
            return "never called: its parent uses its parameters"
        return f"never called in this mode{', has parameters' if owned else ''}"
    if calls.count and not calls.tensors:
        return "no tensor comes out of it"
    return ""


def of_no_change(subject: Subject, item: Item) -> str:
    """Why its output may have stayed as it is; empty if for no good reason.

    A look of our own: what is there is handed to a function that returns it.
    """
    seen: list[Tensor] = []

    def look(output: Tensor, inputs: tuple[Any, ...]) -> Tensor:
        seen.append(output.detach().clone())
        return output

    with surgery.ablate(subject.model, item.target, look):
        subject.run()
    if not seen:
        return ""
    if all(x.numel() == 0 for x in seen):
        return "its output is empty"
    if not any(bool(x.any()) for x in seen):
        return "its output is all zero already"
    return ""


def of_crash(subject: Subject, item: Item, error: Exception) -> str:
    """Whether the model itself fails so where a hook of ours gives zeros."""
    part = item.part
    if part is None or part.kind not in ("module", "function"):
        return ""
    try:
        with zeroed(subject.model, part):
            subject.run()
    except Exception as same:  # whatever it is, it is compared
        if type(same) is type(error) and str(same)[:80] == str(error)[:80]:
            return f"the model does not run on zeros there: {type(same).__name__}"
    return ""


@contextmanager
def zeroed(model: nn.Module, part: Component) -> Generator[None]:
    """Zeros out of a module or a function, by hooks and a mode of our own."""
    if part.kind == "module":
        handle = model.get_submodule(part.path).register_forward_hook(_zeros)
        with ExitStack() as stack:
            stack.callback(handle.remove)
            yield
        return
    assert part.place is not None
    (site,) = part.place.sites
    running: list[str] = []
    with ExitStack() as stack:
        for path, module in model.named_modules():
            begin = module.register_forward_pre_hook(_Begin(running, path))
            end = module.register_forward_hook(_End(running), always_call=True)
            stack.callback(begin.remove)
            stack.callback(end.remove)
        stack.enter_context(_Zeroing(running, site))
        yield


class _Begin:
    def __init__(self, running: list[str], path: str) -> None:
        self._running, self._path = running, path

    def __call__(self, module: nn.Module, args: Any) -> None:
        self._running.append(self._path)


class _End:
    def __init__(self, running: list[str]) -> None:
        self._running = running

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        self._running.pop()


class _Zeroing(TorchFunctionMode):
    """Gives zeros for one call of a function in a module's own code."""

    def __init__(self, running: list[str], site: Site) -> None:
        super().__init__()
        self._running, self._site = running, site
        self._seen = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        own = self._running[-1:] == [self._site.path]
        if own and function_name(func) == self._site.function and gives_tensor(output):
            self._seen += 1
            if self._seen - 1 == self._site.index:
                return mapped(output, torch.zeros_like)
        return output


def _zeros(module: nn.Module, args: Any, output: Any) -> Any:
    return mapped(output, torch.zeros_like)
