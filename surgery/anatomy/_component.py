"""Component: one thing in a model that can be operated on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "module",
    "skip",
    "branch",
    "add",
    "gate",
    "mul",
    "cat",
    "stack",
    "function",
    "head",
    "channel",
    "parameter",
    "input",
]
Shape = tuple[int, ...]
Axis = Literal["channel", "feature", "token"]


@dataclass(frozen=True)
class Facts:
    """What one recorded forward told about a component.

    Attributes:
        type: Class name of the module, `"Parameter"`, or the input's dtype.
        calls: How often it ran in that forward.
        input_shape: Shape of the first tensor that went in, at the first call.
        output_shape: Shape of the first tensor that came out, at the first call.
        parameters: Number of elements of all parameters in it, each counted once.
        macs: Multiply-adds of all its calls in that forward (batch included).
        identity: `"yes"` if an input may stand in for the output as it is, `"no"`
            if nothing sensible can, else the name of the adapter that makes it fit.
        note: What a user must know before operating on it.
    """

    type: str
    calls: int = 0
    input_shape: Shape | None = None
    output_shape: Shape | None = None
    parameters: int = 0
    macs: int = 0
    identity: str = "no"
    note: str = ""


@dataclass(frozen=True)
class Slice:
    """A range of one axis of a model input, `first` to `last` inclusive."""

    axis: Axis
    first: int
    last: int


@dataclass(frozen=True)
class Component:
    """One thing that can be operated on; `str()` gives the target that names it.

    Attributes:
        name: The target that names it, in canonical form.
        kind: What it is.
        path: Dotted path of its module: the module itself, the owner of a
            parameter, or `""` (the whole model) for an input.
        call: For one call of a module, its index within a forward; else `None`.
        part: Name of the parameter within its owner, or of the input field
            (`None`: every tensor that goes into the model).
        slice: For a range of a model input, that range.
        facts: What a recorded forward told, if there was one.
    """

    name: str
    kind: Kind
    path: str
    call: int | None = None
    part: str | None = None
    slice: Slice | None = None
    facts: Facts | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return self.name
