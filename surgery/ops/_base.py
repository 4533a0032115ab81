"""What an operation is: a frozen description with one method that does the work.

Output operations act on what comes out of a component while the model runs.
Parameter operations act on the tensors that a component owns, before it runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from surgery.anatomy import Component


@dataclass(frozen=True)
class Firing:
    """One moment at which an output operation acts.

    Attributes:
        component: Where it acts.
        inputs: What went into the component, positional then keyword, as it was
            before the component ran. Empty unless the operation wants inputs.
        batch_size: Number of samples in the model's running forward, if known.
        seed: Differs from forward to forward and from call to call, but not from
            variant to variant: differences between variants are not luck.
        statistic: What was gathered from data for this call, if anything.
        strict: Whether an operation must fit as it is, without an adapter.
        drawn: The random numbers of this firing, where they were drawn before it.
    """

    component: Component
    inputs: tuple[Any, ...] = ()
    batch_size: int | None = None
    seed: int = 0
    statistic: AbstractStatistic | None = None
    strict: bool = False
    drawn: tuple[Tensor, ...] | None = None


@dataclass(frozen=True)
class Replacement:
    """What an output operation puts in a tensor's place, and what a user must know."""

    tensor: Tensor
    note: str = ""


class AbstractStatistic(ABC):
    """Something about a component's outputs, gathered over data in one pass."""

    @abstractmethod
    def update(self, output: Tensor, batch_size: int | None) -> None:
        """Take in the outputs of one call."""

    @abstractmethod
    def finish(self) -> None:
        """Called once after the last batch."""


class AbstractOperation(ABC):
    """What can be done to a component. Subclasses are frozen dataclasses."""

    mode: ClassVar[str]
    random: ClassVar[bool] = False


class AbstractOutputOperation(AbstractOperation):
    """Acts on what comes out of a component."""

    wants_inputs: ClassVar[bool] = False
    # Whether all components and calls of one forward draw alike: the same donors.
    draws_alike: ClassVar[bool] = False
    # Whether it takes other samples' values: what holds no data has none.
    over_samples: ClassVar[bool] = False
    # Whether what it launches depends on shapes and draws only: a recording of it then
    # holds for other batches too.
    recordable: ClassVar[bool] = False

    @abstractmethod
    def apply(self, output: Tensor, firing: Firing) -> Replacement:
        """What stands in the place of `output`: same shape, type and device."""

    def draws(self, output: Tensor, firing: Firing) -> tuple[Tensor, ...] | None:
        """The random numbers of a firing, the same that `apply` would draw itself.

        They may depend on the shape, type and device of `output`, not on its values:
        they are drawn before it is computed, and handed to `apply` in `firing.drawn`.
        `None`: they cannot be had before.
        """
        return None

    def statistic(self, component: Component, seed: int) -> AbstractStatistic | None:
        """A fresh statistic to gather over data first, where the operation has one."""
        return None

    @property
    def needs_data(self) -> bool:
        """Whether it cannot act before its statistic was gathered."""
        return False


class AbstractParameterOperation(AbstractOperation):
    """Acts on tensors that a component owns."""

    @abstractmethod
    def values(
        self, model: nn.Module, component: Component, seed: int
    ) -> Mapping[Tensor, AbstractNewValue]:
        """For each tensor of `component` that changes, how its new value is made."""


class AbstractNewValue(ABC):
    """How the new value of one tensor comes from its present one.

    Attributes:
        note: What a user must know of it.
        held: Whether it is there already, and not made when it is called for.
    """

    note: str = ""
    held: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, present: Tensor) -> Tensor:
        """The new value; never changes `present`."""


class AbstractDrawnValue(AbstractNewValue):
    """A new value made of what is drawn at random, which is the same at every level."""

    @property
    @abstractmethod
    def key(self) -> Hashable:
        """Says what is drawn, for tensors of one shape on one device."""

    @abstractmethod
    def draw(self, present: Tensor) -> Tensor:
        """What is drawn."""

    @abstractmethod
    def made(self, present: Tensor, draw: Tensor) -> Tensor:
        """The new value; changes neither of them."""

    def __call__(self, present: Tensor) -> Tensor:
        return self.made(present, self.draw(present))
