"""Output operations that need nothing but the output and the inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from surgery.anatomy import adapt, find_fit, tensors
from surgery.errors import OperationError, ShapeMismatchError
from surgery.ops._base import AbstractOutputOperation, Firing, Replacement


@final
@dataclass(frozen=True)
class Zero(AbstractOutputOperation):
    """Zeros in place of the output."""

    mode: ClassVar[str] = "zero"
    recordable: ClassVar[bool] = True

    def apply(self, output: Tensor, firing: Firing) -> Replacement:
        return Replacement(torch.zeros_like(output))


@final
@dataclass(frozen=True)
class Constant(AbstractOutputOperation):
    """A fixed value in place of the output.

    Attributes:
        value: A number, or a tensor that broadcasts to the output. Default: 0.
    """

    value: float | Tensor = 0.0
    mode: ClassVar[str] = "constant"
    recordable: ClassVar[bool] = True

    def apply(self, output: Tensor, firing: Firing) -> Replacement:
        if not isinstance(self.value, Tensor):
            return Replacement(torch.full_like(output, self.value))
        value = self.value.to(device=output.device, dtype=output.dtype)
        try:
            return Replacement(value.expand_as(output).clone())
        except RuntimeError as error:
            raise ShapeMismatchError(
                f"the constant has shape {tuple(value.shape)}, which does not "
                f"broadcast to the output of {firing.component}, "
                f"{tuple(output.shape)}; pass a number or a tensor that does"
            ) from error


@final
@dataclass(frozen=True)
class Identity(AbstractOutputOperation):
    """The component's input in place of its output.

    Where shapes differ, a parameter-free adapter (pool, then truncate or zero-pad)
    makes the input fit; the result names it, and `strict=True` refuses it.
    """

    mode: ClassVar[str] = "identity"
    recordable: ClassVar[bool] = True
    wants_inputs: ClassVar[bool] = True

    def apply(self, output: Tensor, firing: Firing) -> Replacement:
        candidates = tensors(firing.inputs)
        fit = find_fit(candidates, output)
        shapes = ", ".join(f"{tuple(x.shape)} {_dtype(x)}" for x in candidates)
        story = (
            f"{firing.component} takes {shapes or 'no tensor'} and returns "
            f"{tuple(output.shape)} {_dtype(output)}"
        )
        if fit is None:
            raise ShapeMismatchError(
                f"{story}: no input can stand in for the output; use mode='zero' or "
                "mode='mean'"
            )
        if fit.adapter == "yes":
            return Replacement(adapt(candidates[fit.index], output, "yes"))
        if firing.strict:
            raise ShapeMismatchError(
                f"{story}: the input fits only through an adapter ({fit.adapter}), "
                "which strict=True refuses; use strict=False or another mode"
            )
        adapted = adapt(candidates[fit.index], output, fit.adapter)
        return Replacement(adapted, f"adapter: {fit.adapter}")


@final
@dataclass(frozen=True)
class Call(AbstractOutputOperation):
    """The user's own function `f(output, inputs) -> output`.

    Attributes:
        function: Called with the main tensor of the output and a tuple of what went
            into the component, positional then keyword; returns the new tensor.
    """

    function: Callable[[Tensor, tuple[Any, ...]], Tensor]
    mode: ClassVar[str] = "callable"
    wants_inputs: ClassVar[bool] = True

    def apply(self, output: Tensor, firing: Firing) -> Replacement:
        # A copy: the function may write into what it is given.
        result: object = self.function(output.clone(), firing.inputs)
        name = getattr(self.function, "__name__", repr(self.function))
        if not isinstance(result, Tensor):
            raise OperationError(
                f"mode={name} returned {type(result).__name__} at {firing.component}; "
                "it must return a tensor in place of the output it is given"
            )
        if result.shape != output.shape:
            raise ShapeMismatchError(
                f"mode={name} returned shape {tuple(result.shape)} at "
                f"{firing.component}, whose output has {tuple(output.shape)}; return "
                "a tensor of the output's shape"
            )
        return Replacement(result)


def _dtype(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")
