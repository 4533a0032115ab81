"""Changes of parameters: towards zero, of signs, by the user's own function."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Self, final

import torch
from torch import Tensor, nn

from surgery._random import derive, seeded
from surgery.anatomy import Component
from surgery.errors import OperationError, ShapeMismatchError
from surgery.ops._base import (
    AbstractDrawnValue,
    AbstractNewValue,
    AbstractParameterOperation,
)
from surgery.ops._graded import AbstractGraded, require_share
from surgery.ops._owned import real_parameters


@final
@dataclass(frozen=True)
class Scale(AbstractParameterOperation):
    """Parameters times a factor; by default all the way to zero.

    Attributes:
        factor: What they are multiplied by. Default: 0.
    """

    factor: float = 0.0
    mode: ClassVar[str] = "scale"

    def values(
        self, model: nn.Module, component: Component, seed: int
    ) -> Mapping[Tensor, AbstractNewValue]:
        return {
            tensor: Each(self._scaled)
            for tensor in real_parameters(model, component).values()
        }

    def _scaled(self, present: Tensor) -> Tensor:
        return present * self.factor


@final
@dataclass(frozen=True)
class Flip(AbstractParameterOperation, AbstractGraded):
    """The signs of some parameters turned, chosen at random.

    Attributes:
        share: Share of each tensor's entries whose sign turns, to the nearest number of
            entries. Default: 0.1.
    """

    share: float = 0.1
    mode: ClassVar[str] = "flip"
    random: ClassVar[bool] = True
    ladder: ClassVar[Sequence[float]] = (0.01, 0.03, 0.1, 0.3, 1.0)

    def __post_init__(self) -> None:
        require_share("Flip(share=...)", self.share)

    def at(self, level: float) -> Self:
        return replace(self, share=level)

    def values(
        self, model: nn.Module, component: Component, seed: int
    ) -> Mapping[Tensor, AbstractNewValue]:
        return {
            tensor: _Flipped(self.share, derive(seed, "flip", name))
            for name, tensor in real_parameters(model, component).items()
        }


@final
@dataclass(frozen=True)
class _Flipped(AbstractDrawnValue):
    share: float
    seed: int

    @property
    def key(self) -> Hashable:
        return "flip", self.seed

    def draw(self, present: Tensor) -> Tensor:
        """One order for every level: what turns at one turns at the next."""
        count, device = present.numel(), present.device
        generator = torch.Generator(device).manual_seed(self.seed)
        return torch.randperm(count, generator=generator, device=device)

    def made(self, present: Tensor, draw: Tensor) -> Tensor:
        chosen = draw[: round(self.share * present.numel())]
        new = present.flatten().clone()
        new[chosen] = -new[chosen]
        return new.view(present.shape)


@final
@dataclass(frozen=True)
class Change(AbstractParameterOperation, AbstractGraded):
    """The user's own function `f(parameter, level) -> tensor`.

    It runs under a seed of its own, so that what it draws is the same in every batch.

    Attributes:
        function: Gives the new values, of the parameter's shape.
        level: How strong the change is to be. Default: 1.
    """

    function: Callable[[Tensor, float], Tensor]
    level: float = 1.0
    mode: ClassVar[str] = "function of parameters"
    random: ClassVar[bool] = True
    ladder: ClassVar[Sequence[float]] = (0.25, 0.5, 0.75, 1.0)

    def at(self, level: float) -> Self:
        return replace(self, level=level)

    @property
    def name(self) -> str:
        """What the function is called."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def values(
        self, model: nn.Module, component: Component, seed: int
    ) -> Mapping[Tensor, AbstractNewValue]:
        return {
            tensor: Each(
                partial(self._changed, name=name, seed=derive(seed, "change", name))
            )
            for name, tensor in real_parameters(model, component).items()
        }

    def _changed(self, present: Tensor, name: str, seed: int) -> Tensor:
        with seeded(seed):
            # A copy: the function may write into what it is given.
            new: object = self.function(present.clone(), self.level)
        if not isinstance(new, Tensor):
            raise OperationError(
                f"{self.name} returned {type(new).__name__} for {name}; it must return "
                "the parameter's new values as a tensor"
            )
        if new.shape != present.shape:
            raise ShapeMismatchError(
                f"{self.name} returned shape {tuple(new.shape)} for {name}, which has "
                f"{tuple(present.shape)}; return values of the parameter's shape"
            )
        return new.to(present)


@final
@dataclass(frozen=True)
class Each(AbstractNewValue):
    """A new value by a function of the present one."""

    function: Callable[[Tensor], Tensor]
    note: str = ""

    def __call__(self, present: Tensor) -> Tensor:
        return self.function(present)
