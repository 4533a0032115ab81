"""Sighting: what one call of a torch function is, as its module's own code has it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Residual:
    """A residual add: which operand is the skip and which the branch.

    Attributes:
        ordinal: Which residual add of its owner's call it is, from 0.
        skip: Position of the operand that is, or is projected from, the block's input.
        branch: Position of the other operand.
        projected: Whether the skip is computed from the block's input.
        skip_modules: Paths of the outermost modules inside the owner that ran between
            the fork and the skip operand, and only there.
        branch_modules: Likewise for the branch.
        skip_parameters: Identities of the parameters that code inside the owner used
            there.
        branch_parameters: Likewise for the branch.
    """

    ordinal: int
    skip: int
    branch: int
    projected: bool
    skip_modules: tuple[str, ...] = ()
    branch_modules: tuple[str, ...] = ()
    skip_parameters: tuple[int, ...] = ()
    branch_parameters: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Gate:
    """A multiplicative gate: which operand is the multiplier.

    Attributes:
        ordinal: Which gate of its owner's call it is, from 0.
        operand: Position of the multiplier.
    """

    ordinal: int
    operand: int


@dataclass(frozen=True, slots=True)
class HeadCut:
    """Where one attention head's output enters a weight operation.

    Attributes:
        owner: Path of the module whose own code computed the attention.
        head: Number of the head.
        operand: Position of the operand that holds it; `None` for
            `multi_head_attention_forward`, where the cut is inside the function.
        axis: Axis of that operand along which the heads lie, counted from the end.
        pieces: Its ranges on that axis, `first` to `last` inclusive.
    """

    owner: str
    head: int
    operand: int | None
    axis: int
    pieces: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Sighting:
    """One call of a function, told before it runs.

    Attributes:
        path: Path of the module whose own code it is.
        function: Canonical name of the function.
        index: Which call of that function in this call of the module, from 0.
        call: Which call of that module within the outermost one, from 0.
        live: For `add`, `mul`, `cat` and `stack`, which operands hold data that came
            from the outermost module's inputs, by position; else empty.
        residual: Set for a residual add.
        gate: Set for a gate.
        undecided: Whether the live operands of a two-tensor `add` or `mul` have no
            common ancestor inside the outermost module: what it is, and so how later
            ones of the owner are counted, only the whole model can tell.
        heads: The heads that enter here.
    """

    path: str
    function: str
    index: int
    call: int
    live: tuple[bool, ...] = ()
    residual: Residual | None = None
    gate: Gate | None = None
    undecided: bool = False
    heads: tuple[HeadCut, ...] = ()
