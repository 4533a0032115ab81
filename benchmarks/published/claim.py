"""What a paper claims, what must be measured for it to hold, and whether it was."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Way = Literal["at least", "at most"]
SEEDS = (0, 1, 2)
NEEDED = 3
"""Seeds without which nothing is said to hold."""


@dataclass(frozen=True)
class Criterion:
    """One figure, and what its median over seeds must be.

    Attributes:
        figure: Its name among those measured.
        says: What it is, in words.
        way: On which side of the bound it must be.
        bound: Written down before the first measurement, and left since.
    """

    figure: str
    says: str
    way: Way
    bound: float

    def holds(self, values: Sequence[float]) -> bool:
        """Whether the median meets the bound; a figure that is no number does not."""
        if len(values) < NEEDED or any(map(math.isnan, values)):
            return False
        middle = statistics.median(values)
        return middle >= self.bound if self.way == "at least" else middle <= self.bound


@dataclass(frozen=True)
class Claim:
    """What a paper says, and how it is looked for here.

    Attributes:
        paper: Authors, year, title, and where to read it.
        says: The claim.
        here: The experiment.
        criteria: All of them must hold.
        remark: What is to be known of the outcome; the only part written afterwards.
    """

    name: str
    paper: str
    says: str
    here: str
    criteria: tuple[Criterion, ...]
    remark: str = ""


@dataclass(frozen=True)
class Measured:
    """What one seed gave.

    Attributes:
        figures: What criteria are about.
        curves: What the plot shows beside.
    """

    seed: int
    figures: Mapping[str, float]
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)


S = TypeVar("S")


@dataclass(frozen=True)
class Script(Generic[S]):
    """One paper.

    Attributes:
        claim: What is to be shown.
        full: Sizes of the experiment.
        tiny: Sizes at which it only runs.
        measure: `measure(setup, seed, folder)`; networks are kept in the folder.
        draw: The plot of all seeds.
    """

    claim: Claim
    full: S
    tiny: S
    measure: Callable[[S, int, Path], Measured]
    draw: Callable[[Sequence[Measured]], Figure]


@dataclass(frozen=True)
class Judged:
    """One criterion beside what was measured."""

    criterion: Criterion
    values: tuple[float, ...]
    holds: bool


def judge(claim: Claim, found: Sequence[Measured]) -> list[Judged]:
    """Every criterion of a claim; a figure that was not measured is not a number."""
    judged: list[Judged] = []
    for criterion in claim.criteria:
        values = tuple(m.figures.get(criterion.figure, math.nan) for m in found)
        judged.append(Judged(criterion, values, criterion.holds(values)))
    return judged
