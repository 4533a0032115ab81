"""What became of one mode on one module."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["effect", "refused", "no change", "failure"]


@dataclass(frozen=True)
class Outcome:
    """What became of one mode on one module.

    Attributes:
        component: The target that names the module.
        mode: The mode.
        verdict: `"effect"`: its own output (what it learns, for `freeze`) changed as
            the mode says. `"refused"` and `"no change"`: for the reason in `cause`,
            which was found true. `"failure"`: for the reasons in `cause`.
        cause: Why.
        reached: Whether the model's output changed too.
        finite: Whether the model's output was finite.
        note: What the operation had to say.
    """

    component: str
    mode: str
    verdict: Verdict
    cause: str = ""
    reached: bool = False
    finite: bool = True
    note: str = ""


@dataclass
class Finding:
    """What is found out while an operation is in effect.

    Attributes:
        faults: What is wrong, in words.
        ran: Whether the model has run under it.
        changed: Whether the component's own output changed.
        unchanged: A reason, found true, for which it may not have.
        reached: Whether the model's output changed.
        finite: Whether the model's output was finite.
        note: What the operation had to say.
    """

    faults: list[str] = field(default_factory=list[str])
    ran: bool = False
    changed: bool = False
    unchanged: str = ""
    reached: bool = False
    finite: bool = True
    note: str = ""
