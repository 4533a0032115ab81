"""Draws: random numbers drawn before a forward, in tensors that stay where they are.

A recorded forward runs in the same memory again and again. What operations draw in it
is drawn beforehand and put into tensors that the recording knows: the numbers that they
would have drawn themselves.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

from torch import Tensor

from surgery.errors import BackendError
from surgery.ops._base import Firing

if TYPE_CHECKING:
    from surgery.ops._edit import Edit


@dataclass(frozen=True)
class _Kept:
    """What one firing draws.

    Attributes:
        edit: Which operation fires.
        index: At which call of its component.
        like: A tensor like the component's output, that takes no memory.
        firing: Without what it was given.
        tensors: The numbers.
    """

    edit: Edit
    index: int
    like: Tensor
    firing: Firing
    tensors: tuple[Tensor, ...]


@final
class Draws:
    """The random numbers of one forward: made in its first run, refilled for others."""

    def __init__(self) -> None:
        self._kept: dict[Any, _Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def of(
        self, edit: Edit, output: Tensor, firing: Firing, index: int
    ) -> tuple[Tensor, ...]:
        """The numbers of one firing, in the tensors that hold them for all batches.

        Raises:
            BackendError: The operation cannot draw them beforehand.
        """
        key: Any = edit, index
        if edit.operation.draws_alike:
            samples = firing.batch_size or len(output)
            key = type(edit.operation), edit.seed, samples, output.device
        if key not in self._kept:
            drawn = edit.operation.draws(output, firing)
            if drawn is None:
                raise BackendError(
                    f"mode={edit.operation.mode!r} at {edit.component} draws while it "
                    "acts"
                )
            like = output.detach().new_empty(()).expand(output.shape)
            own = tuple(x.to(output.device, copy=True) for x in drawn)
            kept = _Kept(edit, index, like, replace(firing, inputs=()), own)
            self._kept[key] = kept
        return self._kept[key].tensors

    def refill(self) -> None:
        """Draw for the forward that comes next; see `Clock.now`."""
        for kept in self._kept.values():
            firing = replace(kept.firing, seed=kept.edit.draw_seed(kept.index))
            new = kept.edit.operation.draws(kept.like, firing)
            assert new is not None
            for held, drawn in zip(kept.tensors, new, strict=True):
                if held.is_cuda and not drawn.is_cuda:
                    drawn = drawn.pin_memory()  # else the copy would be waited for
                held.copy_(drawn, non_blocking=True)


_KEPT: ContextVar[Draws | None] = ContextVar("draws of the forward", default=None)


def kept_draws() -> Draws | None:
    """Where operations take their random numbers from, if not from generators."""
    return _KEPT.get()


@contextmanager
def drawn_before(draws: Draws) -> Generator[None]:
    """Have operations take their random numbers from `draws` in this block."""
    token = _KEPT.set(draws)
    try:
        yield
    finally:
        _KEPT.reset(token)
