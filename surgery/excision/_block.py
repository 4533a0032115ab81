"""A block whose own code was rewritten: the same modules, another way through them."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any, final

import torch
from torch import fx, nn

from surgery.errors import ShapeMismatchError

_CONTAINERS = ("_modules", "_parameters", "_buffers", "_non_persistent_buffers_set")


@final
class RewrittenBlock(nn.Module):
    """Stands in a block's place: its modules and attributes, with code of its own.

    Not `fx.GraphModule`, which loses hooks, attributes and modules that its graph does
    not call when it is copied or pickled.

    """

    def __init__(self, block: nn.Module, graph: fx.Graph) -> None:
        super().__init__()
        for name, value in vars(block).items():
            if name != "forward":
                # Own containers: what goes from here stays in the block that was.
                copied = value.copy() if name in _CONTAINERS else value
                self.__dict__[name] = copied
        self._was = type(block).__name__
        code = graph.python_code("self")
        self._source = code.src
        self._names = {
            name: _Import(value.__name__) if isinstance(value, ModuleType) else value
            for name, value in code.globals.items()
        }
        self._function = self._made()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(self, *args, **kwargs)

    @property
    def code(self) -> str:
        """Its code, as Python source."""
        return self._source

    def extra_repr(self) -> str:
        return f"{self._was}, rewritten"

    def _made(self) -> Any:
        space: dict[str, Any] = {
            name: importlib.import_module(value.name)
            if isinstance(value, _Import)
            else value
            for name, value in self._names.items()
        }
        exec(self._source, space)
        return space["forward"]

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value for name, value in vars(self).items() if name != "_function"
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._function = self._made()


class _Import:
    """A module that the code uses, by name: modules do not pickle."""

    def __init__(self, name: str) -> None:
        self.name = name


def expect(given: object, value: object, name: str, block: str) -> None:
    """Holds a rewritten block to the arguments with which it was traced.

    Raises:
        ShapeMismatchError: Another value was given.
    """
    same = given is value
    if not same and not isinstance(given, torch.Tensor) and value is not None:
        same = type(given) is type(value) and given == value
    if not same:
        what = type(given).__name__ if isinstance(given, torch.Tensor) else repr(given)
        raise ShapeMismatchError(
            f"{block} was rewritten for {name}={value!r}, and is now called with "
            f"{what}; excise with inputs= and kwargs= that make the same calls"
        )
