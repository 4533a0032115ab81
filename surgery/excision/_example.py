"""Running a model on the example, so that two runs can be compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Mapping, Sequence
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

    def run(self, model: nn.Module) -> list[Tensor]:
        """The tensors that come out; the model is as before afterwards.

        Two models that draw for the same shapes draw the same, whatever else they draw.
        """
        with undisturbed(model), _first_forward(model), ExitStack() as stack:
            seed_all(0)
            if any(module.training for module in model.modules()):
                stack.enter_context(_SameDraws())
            # Copies: a model may write into what it is given.
            args, kwargs = mapped((self.args, self.kwargs), torch.clone)
            return [x.detach().clone() for x in tensors(model(*args, **kwargs))]


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
    if isinstance(value, tuple | list):
        return any(is_opaque(x) for x in cast("Sequence[object]", value))
    return not (isinstance(value, _VALUES) or dataclasses.is_dataclass(value))


def agreement(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> str:
    """How far two runs agree: `"bitwise"`, `"close"`, or `""` if they do not."""
    if len(found) != len(wanted):
        return ""
    pairs = list(zip(found, wanted, strict=True))
    if any(a.shape != b.shape or a.dtype != b.dtype for a, b in pairs):
        return ""
    if all(_equal(a, b) for a, b in pairs):
        return "bitwise"
    return "close" if all(_close(a, b) for a, b in pairs) else ""


def largest_difference(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> str:
    """Where two runs differ, in words."""
    if len(found) != len(wanted):
        return f"{len(found)} tensors instead of {len(wanted)}"
    for a, b in zip(found, wanted, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"{tuple(a.shape)} {a.dtype} instead of {tuple(b.shape)} {b.dtype}"
    worst = max(
        float((a.double() - b.double()).abs().max()) if a.numel() else 0.0
        for a, b in zip(found, wanted, strict=True)
    )
    return f"a difference of up to {worst:.3g}"


def _equal(a: Tensor, b: Tensor) -> bool:
    if a.is_floating_point() or a.is_complex():
        return torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
    return torch.equal(a, b)


def _close(a: Tensor, b: Tensor) -> bool:
    if not a.is_floating_point():
        return torch.equal(a, b)
    # Smaller kernels add in another order: an error of the last bits, grown by depth.
    bits = torch.finfo(a.dtype).eps
    scale = float(b[b.isfinite()].abs().max()) if bool(b.isfinite().any()) else 1.0
    room = 1000 * bits
    return torch.allclose(a, b, rtol=room, atol=room * scale, equal_nan=True)
