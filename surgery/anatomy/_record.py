"""Record: what one forward of a model showed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from surgery.anatomy._component import Component, Facts, Shape


@dataclass(frozen=True)
class InputField:
    """One argument of the model's forward that is a tensor, or holds tensors.

    Attributes:
        name: The argument.
        shape: Of the tensor, or of the first tensor in it.
        dtype: Likewise.
        nested: Whether it holds tensors, as a list of images does.
    """

    name: str
    shape: Shape
    dtype: str
    nested: bool = False


@dataclass(frozen=True)
class Record:
    """What one forward showed of every module, by canonical path.

    Attributes:
        facts: Facts of every module of the model (the root has path `""`), in the
            order of `named_modules()`; never-called modules have `calls == 0`.
        order: Paths of called modules, in the order in which they first started.
        bypassed: Modules that were never called although their parent used their
            parameters: a hook on them is dead.
        inputs: The tensors that went into the model, in call order.
        batch_size: Size of axis 0 of the first input tensor.
        parts: What the modules' own code holds (skips, branches, gates, joins and
            their operands, functions, attention heads), in order of execution.
    """

    facts: Mapping[str, Facts]
    order: tuple[str, ...]
    bypassed: frozenset[str]
    inputs: tuple[InputField, ...]
    batch_size: int
    parts: tuple[Component, ...] = ()
