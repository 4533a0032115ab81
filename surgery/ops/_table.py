"""Which operation makes sense on which kind of component: one table."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast, get_args

from torch import Tensor

from surgery.anatomy import Component
from surgery.errors import OperationError
from surgery.ops._base import AbstractOperation, AbstractOutputOperation
from surgery.ops._changes import Change
from surgery.ops._output import Call, Constant, Identity, Zero
from surgery.ops._parameters import Freeze, Reinit
from surgery.ops._random_output import Noise, Resample
from surgery.ops._statistics import Mean

Mode = Literal[
    "zero", "identity", "mean", "resample", "noise", "constant", "reinit", "freeze"
]
ModeLike = str | AbstractOperation | Callable[..., object]
"""What `mode=` takes: a name, an operation of `surgery.ops`, `f(output, inputs)`."""

MODES: Mapping[str, Callable[[], AbstractOperation]] = {
    "zero": Zero,
    "identity": Identity,
    "mean": Mean,
    "resample": Resample,
    "noise": Noise,
    "constant": Constant,
    "reinit": Reinit,
    "freeze": Freeze,
}

_PLAIN = ("zero", "mean", "resample", "noise", "constant", "callable")
_OUTPUT = ("zero", "identity", *_PLAIN[1:])
_ON_PARAMETERS = (
    *("noise on parameters", "flip", "scale", "quantize", "prune"),
    *("function of parameters", "reinit", "rewind", "freeze"),
)
_AS_OBJECTS = {
    "flip": "Flip(share=0.1)",
    "scale": "Scale(factor=0.0)",
    "quantize": "Quantize(bits=8)",
    "prune": "Prune(share=0.5)",
}
"""Modes that say how far: there is no one default to name."""

KIND_MODES: Mapping[str, tuple[str, ...]] = {
    "module": (*_OUTPUT, *_ON_PARAMETERS),
    # All calls of a module share its parameters: one call cannot have its own.
    "call": _OUTPUT,
    # The block's input stands in for what is computed from it; the modules that compute
    # it can be frozen.
    "branch": (*_OUTPUT, "freeze"),
    "projected skip": (*_OUTPUT, "freeze"),
    # It is the block's input already, and nothing computes it.
    "skip": _PLAIN,
    "function": _OUTPUT,
    # Nothing says which of the values that they come from could stand in for these.
    "add": _PLAIN,
    "mul": _PLAIN,
    "cat": _PLAIN,
    "stack": _PLAIN,
    "gate": _PLAIN,
    # A parameter, a mask, a bias: the same for every sample.
    "constant operand": ("zero", "noise", "constant", "callable"),
    "head": _PLAIN,
    "channel": _PLAIN,
    # A parameter has no input; operations act on its values.
    "parameter": ("zero", "noise", "constant", *_ON_PARAMETERS),
    # Nothing comes before a model input that could stand in for it.
    "input": _PLAIN,
}
"""For each kind of component, the modes that make sense on it.

A skip is an identity skip (the block's input itself) or a projected one (computed from
it). An operand that holds no data, a gate too, is a constant operand. One call of a
part has the output modes of the part.
"""


def as_operation(mode: ModeLike) -> AbstractOperation:
    """The operation that `mode` names, is, or wraps.

    Raises:
        OperationError: No mode has this name.
    """
    if isinstance(mode, AbstractOperation):
        return mode
    if isinstance(mode, str):
        if mode in MODES:
            return MODES[mode]()
        if mode == "rewind":
            raise OperationError(
                "mode='rewind' needs a state to go back to; use "
                "mode=surgery.ops.Rewind(state_dict)"
            )
        if mode in _AS_OBJECTS:
            raise OperationError(
                f"mode={mode!r} must say how far; use, for example, "
                f"mode=surgery.ops.{_AS_OBJECTS[mode]}"
            )
        near = difflib.get_close_matches(mode, [*MODES, "rewind", *_AS_OBJECTS], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise OperationError(
            f"unknown mode {mode!r}{hint} Modes are {', '.join(get_args(Mode))}, "
            "operations from surgery.ops, and functions f(output, inputs) -> output"
        )
    if isinstance(mode, type) or not callable(mode):
        raise OperationError(
            f"mode must be a name, an operation from surgery.ops, or a function "
            f"f(output, inputs) -> output, got {mode!r}"
        )
    # What it takes and returns is checked when it fires.
    return Call(cast("Callable[[Tensor, tuple[Any, ...]], Tensor]", mode))


def acts_on_parameters(operation: AbstractOperation, component: Component) -> bool:
    """Whether the operation changes tensors that the component owns, not its output."""
    if isinstance(operation, Noise):
        return operation.on == "parameters" or component.kind == "parameter"
    if isinstance(operation, AbstractOutputOperation):
        return component.kind == "parameter"
    return True


def acts_on_outputs(operation: AbstractOperation) -> bool:
    """Whether the operation, on a module, changes what comes out of it."""
    return not acts_on_parameters(operation, Component("", "module", ""))


def mode_name(operation: AbstractOperation) -> str:
    """The operation's name in tables."""
    if isinstance(operation, Noise) and operation.on == "parameters":
        return "noise on parameters"
    if isinstance(operation, Call):
        return getattr(operation.function, "__name__", "callable")
    if isinstance(operation, Change):
        return operation.name
    return operation.mode


def check_operation(
    operation: AbstractOperation, component: Component, dial: float
) -> None:
    """Refuse what makes no sense.

    Raises:
        OperationError: This operation does not act on this kind of component, or not
            at this dial.
    """
    kind = _table_kind(component)
    called = isinstance(operation, (Call, Change))
    name = operation.mode if called else mode_name(operation)
    allowed = KIND_MODES.get(kind, ())
    if component.call is not None:
        allowed = tuple(mode for mode in allowed if mode not in _ON_PARAMETERS)
    if name not in allowed:
        article = "an" if kind[0] in "ai" else "a"
        raise OperationError(
            f"mode={name!r} makes no sense on {component} (one {kind}); on {article} "
            f"{kind} these do: {', '.join(allowed)}"
        )
    if isinstance(operation, Freeze) and component.kind in ("skip", "branch"):
        _require_modules(component)
    if not 0 <= dial <= 1:
        raise OperationError(f"dial must lie in [0, 1], got {dial}")
    if dial != 1 and isinstance(operation, Freeze):
        raise OperationError(
            f"a component is frozen or it is not: dial={dial} makes no sense with "
            "mode='freeze'; leave dial at 1"
        )


def _table_kind(component: Component) -> str:
    """The row of the table that a component belongs to."""
    if component.kind == "module" and component.call is not None:
        return "call"
    # Before a forward a skip may be either; what makes no sense then raises in it.
    projected = component.place is None or component.place.projected
    if component.kind == "skip" and projected:
        return "projected skip"
    if component.place is not None and component.place.constant:
        return "constant operand"
    return component.kind


def _require_modules(component: Component) -> None:
    if component.place is None:
        raise OperationError(
            f"which modules compute {component} is known only from a forward; pass an "
            "example input: surgery.freeze(model, target, inputs=x)"
        )
    if not (component.place.modules or component.place.parameters):
        raise OperationError(
            f"no module or parameter of its own computes {component}: there is "
            "nothing to freeze; name the module or the parameter that is to stay as "
            "it is"
        )
