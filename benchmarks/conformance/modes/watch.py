"""Watching one module with hooks of our own, on both sides of what is under test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from benchmarks.conformance.modes.values import Seen
from surgery.anatomy import main_tensor, tensors


class Watch:
    """Sees a module's calls before and after the operation that is under test.

    Hooks run in the order of their registration: `outside` comes before the operation
    is put in effect, and `start` after it.
    """

    def __init__(self, module: nn.Module, seen: list[Seen]) -> None:
        self._module = module
        self._seen = seen
        self._active = False
        self._handles: list[RemovableHandle] = []

    @contextmanager
    def outside(self) -> Iterator[Watch]:
        """See inputs and the raw output, from `start` on."""
        self._handles += [
            self._module.register_forward_pre_hook(self._enter, with_kwargs=True),
            self._module.register_forward_hook(self._leave),
        ]
        try:
            yield self
        finally:
            for handle in self._handles:
                handle.remove()

    def start(self) -> None:
        """Look from now on (`mean` has run the model before), at the new output too."""
        self._active = True
        self._handles.append(self._module.register_forward_hook(self._replaced))

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if self._active:
            inputs = [x.detach().clone() for x in tensors((args, kwargs))]
            self._seen.append(Seen(inputs))

    def _leave(self, module: nn.Module, args: Any, output: object) -> None:
        if self._active:
            self._seen[-1].raw = _copied(output)

    def _replaced(self, module: nn.Module, args: Any, output: object) -> None:
        self._seen[-1].new = _copied(output)


@contextmanager
def keeping(
    module: nn.Module, into: list[Tensor], take: Callable[[Tensor], Tensor]
) -> Iterator[None]:
    """Append what `take` makes of the module's main output at every call to a list."""

    def keep(module: nn.Module, args: Any, output: object) -> None:
        main = main_tensor(output)
        if main is not None:
            into.append(take(main))

    handle = module.register_forward_hook(keep)
    try:
        yield
    finally:
        handle.remove()


def _copied(output: object) -> Tensor | None:
    main = main_tensor(output)
    return None if main is None else main.detach().clone()
