"""What became of one component, or of many at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["effect", "no change", "refused", "failure", "not reached"]


@dataclass(frozen=True)
class Outcome:
    """What became of `zero` on one component.

    Attributes:
        component: The target that names it.
        kind: Its kind; `"container"` or `"uncalled"` for a module that never runs.
        verdict: `"effect"`: it fired, and its own output changed. `"no change"` and
            `"refused"`: for the reason in `cause`, which was found true.
            `"failure"`: for the reasons in `cause`. `"not reached"`: the time was up.
        cause: Why.
        reached: Whether the model's output changed too.
        finite: Whether the model's output was finite.
        together: How many components were in effect at the time. Where more than one
            (expensive models), `reached` and `finite` are those of all together.
    """

    component: str
    kind: str
    verdict: Verdict
    cause: str = ""
    reached: bool = False
    finite: bool = True
    together: int = 1


@dataclass(frozen=True)
class AtOnce:
    """What became of all branches, or all skips, cut at once.

    Attributes:
        kind: `"branch"` or `"skip"`.
        components: How many there are.
        fault: What was wrong, in words; empty if nothing.
        reached: Whether the model's output changed.
        finite: Whether the model's output was finite.
    """

    kind: str
    components: int
    fault: str = ""
    reached: bool = False
    finite: bool = True


@dataclass(frozen=True)
class GraphView:
    """Names on a graph of the model, compared with those of the recorded forward.

    Attributes:
        mechanism: `"export"` or `"fx"`.
        built: Whether there is a graph.
        agrees: Whether its names are those of the recorded forward.
        cause: Why not, in words.
        named: How many parts both have.
        differing: How many only one of them has.
    """

    mechanism: str
    built: bool
    agrees: bool = False
    cause: str = ""
    named: int = 0
    differing: int = 0


@dataclass(frozen=True)
class Excised:
    """What became of one component that was excised for good.

    Attributes:
        component: The target that names it.
        kind: Its kind.
        means: How it was built in.
        equal: `"bitwise"`, `"close"`, `"no"`, or `""` where it was refused.
        cause: Why not, in words.
    """

    component: str
    kind: str
    means: str = ""
    equal: str = ""
    cause: str = ""


@dataclass(frozen=True)
class Fused:
    """What became of some trials in the fused program.

    Attributes:
        how: `"one after the other"` or `"stacked"`.
        trials: How many there were.
        refused: Why the program cannot be had, in words; empty if it can.
        exact: Whether the program's baseline is the model's output, bit for bit.
        claimed: Whether the evaluator says that every output is exact to the bit, if
            that was asked.
        stack: How many were computed together.
        bitwise: How many gave, bit for bit, what a forward of their own gives.
        left_out: How many were left to run by themselves.
        worst: The largest difference of the others, of a sample's largest value.
        faults: What was further off than promised, in words; some of them.
        faulty: How many were.
    """

    how: str
    trials: int
    refused: str = ""
    exact: bool = False
    claimed: bool | None = None
    stack: int = 1
    bitwise: int = 0
    left_out: int = 0
    worst: float = 0.0
    faults: tuple[str, ...] = ()
    faulty: int = 0
