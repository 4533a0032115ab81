"""Perturbation: what is done to components, at levels from weak to strong."""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from surgery.errors import OperationError
from surgery.ops import (
    AbstractGraded,
    AbstractOperation,
    Change,
    Flip,
    Freeze,
    ModeLike,
    Noise,
    Prune,
    Quantize,
    Reinit,
    Scale,
    acts_on_outputs,
    as_operation,
    mode_name,
)

Perturb = str | AbstractOperation | Callable[[Tensor, float], Tensor]
"""What `perturb=` takes: a name, an operation, `f(parameter, level) -> tensor`."""

PERTURBATIONS: Mapping[str, Callable[[], AbstractOperation]] = {
    "noise": lambda: Noise(on="parameters"),
    "noise:uniform": lambda: Noise(on="parameters", distribution="uniform"),
    "noise:sign": Flip,
    "scale": Scale,
    "quantize": Quantize,
    "quantize:channel": lambda: Quantize(per="channel"),
    "prune": Prune,
    "prune:structured": lambda: Prune(structured=True),
    "init": Reinit,
}
_DIALS = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Perturbation:
    """An operation that is done more or less.

    Attributes:
        name: Its name in tables.
        operation: What is done.
        by_dial: Whether its level is the dial, though the operation may have a strength
            of its own; without one it is the dial anyhow.
    """

    name: str
    operation: AbstractOperation
    by_dial: bool = False

    @property
    def ladder(self) -> tuple[float, ...]:
        """The levels that it has by default."""
        return _DIALS if self._graded is None else tuple(self._graded.ladder)

    def at(self, level: float) -> tuple[AbstractOperation, float]:
        """The operation and the dial at a level.

        Raises:
            OperationError: There is no such level.
        """
        if self._graded is not None:
            # At a dial of zero nothing is touched, not even by rounding.
            return self._graded.at(level), float(level > 0)
        if not 0 <= level <= 1:
            raise OperationError(
                f"a level of {self.name!r} is a dial: it must lie in [0, 1], got "
                f"{level}"
            )
        return self.operation, level

    def strength(self, level: float) -> float:
        """How far a level is from doing nothing, which is 0."""
        return level if self._graded is None else self._graded.strength(level)

    @property
    def makes_smaller(self) -> bool:
        """Whether a model could do with less, were it done for good."""
        operation = self.operation
        return isinstance(operation, Prune | Quantize) or acts_on_outputs(operation)

    def told(self, level: float) -> str | None:
        """The operation at a level with all its options, where these must be known."""
        if not self.makes_smaller:
            return None
        return re.sub(r" at 0x\w+", "", repr(self.at(level)[0]))

    @property
    def starts_at_zero(self) -> bool:
        """Whether a level of 0 means nothing is done: not so for bits."""
        return not isinstance(self.operation, Quantize)

    def between(self, a: float, b: float, finest: float) -> float | None:
        """A level between two others that are more than `finest` apart, if any."""
        if isinstance(self.operation, Quantize):
            return float((a + b) // 2) if abs(a - b) > 1 else None
        return (a + b) / 2 if abs(a - b) > finest else None

    def checked(self, levels: Sequence[float]) -> tuple[float, ...]:
        """The levels, from weak to strong, none twice.

        Raises:
            OperationError: They are not, or there is none, or no such level.
        """
        found = tuple(_number(level) for level in levels)
        if not found:
            raise OperationError(
                f"levels is empty; give some from weak to strong, as levels="
                f"{self.ladder}"
            )
        for level in found:
            if not math.isfinite(level) or level < 0:
                raise OperationError(
                    f"levels must be numbers of 0 or more, got {level}; as levels="
                    f"{self.ladder}"
                )
            self.at(level)
        strengths = [self.strength(level) for level in found]
        if any(b <= a for a, b in itertools.pairwise(strengths)):
            order = tuple(sorted(set(found), key=self.strength))
            raise OperationError(
                f"levels must go from weak to strong, none twice, got {found}; write "
                f"levels={order}"
            )
        return found

    def repeats(self, asked: int | None) -> int:
        """How often each level is drawn anew.

        Raises:
            OperationError: No such number, or nothing is drawn.
        """
        if asked is None:
            drawn = self.operation.random and not isinstance(self.operation, Change)
            return 3 if drawn else 1
        if not isinstance(asked, int) or isinstance(asked, bool) or asked < 1:
            raise OperationError(f"repeats must be 1 or more, got {asked!r}")
        if asked > 1 and not self.operation.random:
            raise OperationError(
                f"perturb={self.name!r} draws nothing, so that {asked} repeats would "
                "all be the same; leave repeats out"
            )
        return asked

    @property
    def _graded(self) -> AbstractGraded | None:
        operation = self.operation
        graded = isinstance(operation, AbstractGraded) and not self.by_dial
        return operation if graded else None  # type: ignore[return-value]


def as_perturbation(perturb: Perturb, mode: ModeLike | None) -> Perturbation:
    """What `perturb` names, is, or wraps.

    Args:
        perturb: As the user gave it.
        mode: For `"dial"`, what the activation goes towards.

    Raises:
        OperationError: There is no such perturbation, or `mode` belongs to another.
    """
    if perturb == "dial":
        operation = as_operation("zero" if mode is None else mode)
        name = f"dial {mode_name(operation)}"
        return _allowed(Perturbation(name, operation, by_dial=True))
    if mode is not None:
        raise OperationError(
            f"mode={mode!r} says where perturb='dial' goes; with perturb={perturb!r} "
            "leave it out"
        )
    if isinstance(perturb, str):
        if perturb not in PERTURBATIONS:
            known = ["dial", *PERTURBATIONS]
            near = difflib.get_close_matches(perturb, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise OperationError(
                f"unknown perturbation {perturb!r}{hint} There are {', '.join(known)}, "
                "operations from surgery.ops, and functions f(parameter, level) -> "
                "tensor"
            )
        return Perturbation(perturb, PERTURBATIONS[perturb]())
    if isinstance(perturb, AbstractOperation):
        return _allowed(Perturbation(_name(perturb), perturb))
    if isinstance(perturb, type) or not callable(perturb):
        raise OperationError(
            "perturb must be a name, an operation from surgery.ops, or a function "
            f"f(parameter, level) -> tensor, got {perturb!r}"
        )
    change = Change(perturb)
    return Perturbation(change.name, change)


def _name(operation: AbstractOperation) -> str:
    """As `perturb=` spells it, where it does: with any strength."""
    for name, make in PERTURBATIONS.items():
        named = make()
        if type(operation) is not type(named):
            continue
        if isinstance(operation, AbstractGraded) and isinstance(named, AbstractGraded):
            level = operation.ladder[0]
            operation, named = operation.at(level), named.at(level)
        if operation == named:
            return name
    return mode_name(operation)


def _allowed(perturbation: Perturbation) -> Perturbation:
    if isinstance(perturbation.operation, Freeze):
        raise OperationError(
            "'freeze' changes training, not outputs: there is no more and less of it; "
            "use another operation"
        )
    return perturbation


def _number(level: object) -> float:
    if isinstance(level, bool) or not isinstance(level, (int, float)):
        raise OperationError(f"levels must be numbers, got {level!r}")
    return float(level)
