"""Small plain modules that stand where a module was: constants, and what passes on."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, final

import torch
from torch import Tensor, nn

from surgery.anatomy import adapt
from surgery.errors import ShapeMismatchError
from surgery.excision._example import is_opaque
from surgery.excision._shapes import ShapeRule, autocast_type

Where = tuple[int | str, ...]
"""Which input of a module is meant: a position or keyword, then keys inside it."""


class AbstractStandIn(nn.Module):
    """What stands where a module was; takes whatever that module took.

    Attributes:
        name: What was there, for messages.
        where: The input that the output follows.
        rule: How its shape follows that of the input; `None`: it is the input.
    """

    _like: Tensor | None

    def __init__(self, name: str, where: Where, rule: ShapeRule | None = None) -> None:
        super().__init__()
        self.name = name
        self.where = where
        self.rule = rule
        # Holds a type that `model.to(dtype)` changes, as it would the module's own.
        given = rule is not None and rule.dtype is not None
        like = torch.empty(0, dtype=rule.dtype) if given and rule else None
        self.register_buffer("_like", like, persistent=False)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        for value in (*args, *kwargs.values()):
            if is_opaque(value):
                raise ShapeMismatchError(
                    f"{self.name} was excised and cannot fill the "
                    f"{type(value).__name__} that it is given; call the model without "
                    "one (use_cache=False), or excise with inputs= that have one"
                )
        x: Any = args if isinstance(self.where[0], int) else kwargs
        for key in self.where:
            try:
                x = x[key]
            except (LookupError, TypeError):
                x = None
        if not isinstance(x, Tensor):
            raise ShapeMismatchError(
                f"{self.name} was excised where its input {self.where} was a tensor, "
                f"but is now given {type(x).__name__}; call it as with inputs="
            )
        return self.made(x)

    def shape(self, x: Tensor) -> list[int]:
        """The shape of the output, given the input that it follows."""
        return list(x.shape) if self.rule is None else self.rule.shape(x, self.name)

    def dtype(self, x: Tensor) -> torch.dtype:
        """The type of the output, given the input that it follows."""
        plain = x.dtype if self._like is None else self._like.dtype
        # Autocast leaves float64 alone.
        if self.rule is None or not self.rule.autocast or plain == torch.float64:
            return plain
        return autocast_type(x.device) or plain

    @abstractmethod
    def made(self, x: Tensor) -> Tensor:
        """The output, given the input that it follows."""

    @property
    @abstractmethod
    def note(self) -> str:
        """What it gives, for a report."""

    def extra_repr(self) -> str:
        return f"{self.note}, in place of {self.name}"


@final
class Filled(AbstractStandIn):
    """One number, in the shape of the output that was."""

    def __init__(
        self, name: str, where: Where, rule: ShapeRule, value: float = 0.0
    ) -> None:
        super().__init__(name, where, rule)
        self.value = value

    def made(self, x: Tensor) -> Tensor:
        return x.new_full(self.shape(x), self.value, dtype=self.dtype(x))

    @property
    def note(self) -> str:
        return f"constant {self.value:g}" if self.value else "zeros"


@final
class Held(AbstractStandIn):
    """A tensor (a mean, a constant), expanded to the shape of the output that was."""

    value: Tensor

    def __init__(self, name: str, where: Where, rule: ShapeRule, value: Tensor) -> None:
        super().__init__(name, where, rule)
        self.register_buffer("value", value)

    @property
    def note(self) -> str:
        return f"fixed values of shape {tuple(self.value.shape)}"

    def made(self, x: Tensor) -> Tensor:
        shape = self.shape(x)
        held = self.value
        for axis, size in enumerate(shape):
            if held.shape[axis] not in (1, size):
                raise ShapeMismatchError(
                    f"{self.name} was replaced by values of shape "
                    f"{tuple(held.shape)}, which do not fit an output of shape "
                    f"{tuple(shape)}; excise with inputs= (and data=) of that size"
                )
        return held.to(x.device, self.dtype(x)).expand(shape).clone()


@final
class Passed(AbstractStandIn):
    """The input as it is, in a copy: what comes after may write into it."""

    @property
    def note(self) -> str:
        return "a copy of its input"

    def made(self, x: Tensor) -> Tensor:
        return x.clone()


@final
class Fitted(AbstractStandIn):
    """The input, made to fit the shape of the output that was.

    Attributes:
        adapter: How it is made to fit.
    """

    def __init__(self, name: str, where: Where, rule: ShapeRule, adapter: str) -> None:
        super().__init__(name, where, rule)
        self.adapter = adapter

    def made(self, x: Tensor) -> Tensor:
        # Only shape, type and device of the pattern are read.
        pattern = x.new_empty((), dtype=self.dtype(x)).expand(self.shape(x))
        return adapt(x, pattern, self.adapter)

    @property
    def note(self) -> str:
        return f"adapter: {self.adapter}"


def compact(value: Tensor) -> Tensor:
    """`value` with axes along which nothing changes cut to one; broadcasts back."""
    for axis in range(value.ndim):
        first = value.narrow(axis, 0, 1)
        if value.shape[axis] > 1 and torch.equal(value, first.expand_as(value)):
            value = first
    return value.clone()
