"""Running a model on the example, so that two runs can be compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from surgery._random import preserved_rng, seed_all
from surgery.anatomy import mapped, preserved_buffers, tensors
from surgery.ops import Clock, Tally

_VALUES = (
    *(type(None), bool, int, float, complex, str, bytes, slice, Tensor),
    *(torch.dtype, torch.device, torch.layout, torch.memory_format, Enum),
)


@dataclass(frozen=True)
class Example:
    """The call that an excised model is checked on."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def run(
        self, model: nn.Module, blocks: Collection[str] = ()
    ) -> dict[str, list[Tensor]]:
        """The tensors that come out; the model is as before afterwards.

        Two models that draw for the same shapes draw the same, whatever else they draw.

        Args:
            model: Any model that takes the example.
            blocks: Paths of modules whose outputs are told too, where there are such
                modules and they run.

        Returns:
            Copies, by the path of the module that they came out of; `""` is the model.
        """
        found: dict[str, list[Tensor]] = {}
        with undisturbed(model), _first_forward(model), ExitStack() as stack:
            stack.enter_context(_outputs_at(model, blocks, found))
            seed_all(0)
            if any(module.training for module in model.modules()):
                stack.enter_context(_SameDraws())
            # Copies: a model may write into what it is given.
            args, kwargs = mapped((self.args, self.kwargs), torch.clone)
            found[""] = _copies(model(*args, **kwargs))
        return found

    def doubled(self) -> Example:
        """The same call in float64."""
        args, kwargs = mapped((self.args, self.kwargs), _in_double)
        return Example(args, kwargs)


@contextmanager
def _outputs_at(
    model: nn.Module, paths: Collection[str], found: dict[str, list[Tensor]]
) -> Generator[None]:
    """Note what comes out of the modules at these paths, at every call."""
    modules = dict(model.named_modules(remove_duplicate=False))
    with ExitStack() as stack:
        for path in paths:

            def note(_: nn.Module, args: Any, output: object, path: str = path) -> None:
                found.setdefault(path, []).extend(_copies(output))

            if path in modules:
                stack.callback(modules[path].register_forward_hook(note).remove)
        yield


def _copies(output: object) -> list[Tensor]:
    return [x.detach().clone() for x in tensors(output)]


def _in_double(x: Tensor) -> Tensor:
    return x.double() if x.is_floating_point() else x


@contextmanager
def undisturbed(model: nn.Module) -> Generator[None]:
    """Run forwards in the block without gradients and without a trace."""
    with torch.no_grad(), preserved_rng(), preserved_buffers(model):
        yield


@contextmanager
def _first_forward(model: nn.Module) -> Generator[None]:
    """Let operations that are in effect draw as in their first forward."""
    hooks = model._forward_pre_hooks.values()
    clocks = [c for hook in hooks if isinstance(c := _owner(hook), Clock)]
    counted = [(clock, clock.forwards) for clock in clocks]
    for clock in clocks:
        clock.forwards = Tally()
    try:
        yield
    finally:
        for clock, forwards in counted:
            clock.forwards = forwards


def _owner(hook: object) -> object:
    return getattr(hook, "__self__", None)


class _SameDraws(TorchFunctionMode):
    """Every function draws as if it were the first: modules that are gone draw not."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        seed_all(0)
        return func(*args, **(kwargs or {}))


def is_opaque(value: object) -> bool:
    """Whether a value is an object that a module may fill, such as a cache."""
    if isinstance(value, Mapping):
        return any(is_opaque(x) for x in cast("Mapping[Any, object]", value).values())
    if isinstance(value, (tuple, list)):  # older tracers know no unions of types
        return any(is_opaque(x) for x in cast("Sequence[object]", value))
    return not (isinstance(value, _VALUES) or dataclasses.is_dataclass(value))
