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
Axis = Literal["channel", "feature", "token", "head"]


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
        stands_for: Of a container, whose own code never runs: the nearest modules in
            it that did, as paths from it.
    """

    type: str
    calls: int = 0
    input_shape: Shape | None = None
    output_shape: Shape | None = None
    parameters: int = 0
    macs: int = 0
    identity: str = "no"
    note: str = ""
    stands_for: tuple[str, ...] = ()


@dataclass(frozen=True)
class Slice:
    """A range of one axis of what it is a part of, `first` to `last` inclusive.

    Attributes:
        axis: What the axis holds.
        first: Where the range begins.
        last: Its last member.
        of: For a model input, the field that it is a part of, as a recorded forward
            told (`None`: the first in the order of the forward's signature).
    """

    axis: Axis
    first: int
    last: int
    of: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Site:
    """One place in a module's own code: calls of a function, and what of them.

    Own code is what a module's forward does itself, not what it calls modules for.

    Attributes:
        path: The module whose own code it is.
        function: Name of the function, as `add`, `cat`, `relu`, `linear`.
        index: Which call of that function in the own code, counted anew at every
            call of the module (`None`: all of them).
        operand: Position of the operand that is meant (`None`: what comes out).
        call: Which call of the module (`None`: every call).
        axis: For a part of that tensor, the axis that is cut.
        pieces: Its ranges on that axis, `first` to `last` inclusive.
    """

    path: str
    function: str
    index: int | None = None
    operand: int | None = None
    call: int | None = None
    axis: int | None = None
    pieces: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Place:
    """Where in a model's code a component is, as far as it is known beforehand.

    Attributes:
        sites: Where it is acted on.
        modules: The modules that compute it (for a branch or a projected skip).
        parameters: The parameters beside those modules' own that go into it directly.
        projected: For a skip, or for the branch beside it, whether the skip is computed
            from the block's input and not that input itself.
        constant: For an operand, whether no data is in it: a parameter, a mask, a bias.
        listed: Whether a list of all components shows it.
        code: The classes of the modules whose own code that is, as they were recorded:
            in a module of another class the sites may be something else.
    """

    sites: tuple[Site, ...]
    modules: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    projected: bool = False
    constant: bool = False
    listed: bool = True
    code: tuple[type, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Component:
    """One thing that can be operated on; `str()` gives the target that names it.

    Attributes:
        name: The target that names it, in canonical form.
        kind: What it is.
        path: Dotted path of its module: the module itself, the owner of a parameter
            or of the code that a join is in, or `""` (the whole model) for an input.
        call: For one call of a module, its index within a forward; else `None`.
        part: Name of the parameter within its owner, of the input field (`None`: every
            tensor that goes into the model), or of the function.
        slice: For a range of an input, of a module's channels or of its heads, that
            range.
        index: For a skip, a branch, a gate, a join or a function, which one of those
            in its module, in order of execution (`None`: all of them).
        operand: For an operand of a join, which one.
        place: Where in the code it is. `None` for modules, parameters and inputs, and
            for what only the module's next forward tells.
        facts: What a recorded forward told, if there was one.
    """

    name: str
    kind: Kind
    path: str
    call: int | None = None
    part: str | None = None
    slice: Slice | None = None
    index: int | None = None
    operand: int | None = None
    place: Place | None = field(default=None, compare=False, repr=False)
    facts: Facts | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return self.name
