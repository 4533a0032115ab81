"""Arm: a set of parts left out together; the empty one is the base."""

from __future__ import annotations

from dataclasses import dataclass

from surgery.errors import StudyError
from surgery.study.arms._part import Hypothesis, Part, described

BASE = "base"


@dataclass(frozen=True)
class Arm:
    """One line of a study: the parts that it leaves out.

    Attributes:
        parts: What is left out; nothing for the base.
        against: The parts that the arm it is compared with leaves out: nothing for the
            base; policies that build up or walk a path name another arm.
    """

    parts: tuple[Part, ...] = ()
    against: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        slots = [part.slot for part in self.parts]
        for part in self.parts:
            if slots.count(part.slot) > 1:
                both = [p.name for p in self.parts if p.slot == part.slot]
                raise StudyError(
                    f"an arm cannot leave out {' and '.join(both)} together: they "
                    "exclude each other; put one of them into each arm"
                )

    @property
    def name(self) -> str:
        """The names of its parts, or `"base"`."""
        return " + ".join(part.name for part in self.parts) or BASE

    @property
    def reference(self) -> Arm:
        """The arm that it is compared with."""
        return Arm(self.against)

    @property
    def key(self) -> frozenset[str]:
        """The same for arms that leave out the same parts, in whatever order."""
        return frozenset(part.name for part in self.parts)

    @property
    def priority(self) -> int:
        return max((part.priority for part in self.parts), default=0)

    @property
    def hypothesis(self) -> Hypothesis:
        """That of its only part; what two parts do together, nobody said."""
        return self.parts[0].hypothesis if len(self.parts) == 1 else Hypothesis()

    def described(self) -> str:
        return "; ".join(described(part) for part in self.parts) or "nothing left out"

    def __contains__(self, part: Part) -> bool:
        return part in self.parts
