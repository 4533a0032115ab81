"""Factorial and FractionalFactorial: all combinations, or a balanced part of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import final

from surgery.errors import StudyError
from surgery.study.arms import Arm, Part
from surgery.study.policies._base import AbstractPolicy, Findings
from surgery.study.policies._together import possible, slots


@final
class Factorial(AbstractPolicy):
    """Every combination of parts; of a factor with several values, of each value.

    Ten parts make 1,024 arms: `plan()` tells how many. `surgery.study.main_effects`
    says what each part does on average over all others.
    """

    name = "full factorial"

    def next(self, findings: Findings) -> Sequence[Arm] | None:
        if findings.proposed:
            return None
        return _all(findings.parts)

    def count(self, parts: Sequence[Part], seeds: int) -> int:
        return len(_all(parts))


@final
class FractionalFactorial(AbstractPolicy):
    """A regular fraction of the combinations: a power of two of arms for many parts.

    Each part is left out in half of the arms, and any two parts are left out together
    in a quarter of them, so that `surgery.study.main_effects` has each part's mean
    effect from all arms.

    Args:
        resolution: 3: main effects are mixed with interactions of two parts; 4: with
            those of three only; 5: interactions of two are free of each other too.
    """

    def __init__(self, resolution: int = 4) -> None:
        if resolution not in (3, 4, 5):
            raise StudyError(f"resolution must be 3, 4 or 5, got {resolution!r}")
        self.resolution = resolution
        self.name = f"fractional factorial, resolution {resolution}"

    def next(self, findings: Findings) -> Sequence[Arm] | None:
        if findings.proposed:
            return None
        return self._arms(findings.parts)

    def count(self, parts: Sequence[Part], seeds: int) -> int:
        return len(self._arms(parts))

    def _arms(self, parts: Sequence[Part]) -> list[Arm]:
        if not possible(parts):
            raise StudyError(
                "a fractional factorial leaves any parts out together, and some of "
                f"{', '.join(part.name for part in parts)} exclude each other; give "
                "each factor one value, leave groups or their elements out, or use "
                "surgery.study.Factorial()"
            )
        columns = generators(len(parts), self.resolution)
        base = max((mask.bit_length() for mask in columns), default=0)
        return [
            Arm(
                tuple(
                    part
                    for part, mask in zip(parts, columns, strict=True)
                    if _is_out(run, mask)
                )
            )
            for run in range(2**base)
        ]


def generators(count: int, resolution: int) -> list[int]:
    """For each of so many parts, the basic columns whose product is its column.

    The first parts have a basic column each (one bit); every other part the product of
    several. A word of the defining relation is a set of those other parts together
    with the basic columns in their product; the shortest one is the resolution.
    """
    for basic in range(count + 1):
        found = [1 << bit for bit in range(basic)]
        words: list[tuple[int, int]] = [(0, 0)]  # how many other parts, their product
        masks = sorted(range(2**basic), key=lambda mask: (-mask.bit_count(), mask))
        for mask in masks:
            if len(found) == count:
                break
            more = [(size + 1, product ^ mask) for size, product in words]
            if all(s + product.bit_count() >= resolution for s, product in more):
                words += more
                found.append(mask)
        if len(found) == count:
            return found
    raise AssertionError("as many basic columns as parts are always enough")


def _is_out(run: int, mask: int) -> bool:
    """Whether a part is left out in a run; run 0 leaves out nothing: the base."""
    return (run & mask).bit_count() % 2 == 1


def _all(parts: Sequence[Part]) -> list[Arm]:
    choices = [((), *((part,) for part in slot)) for slot in slots(parts)]
    combined = [
        tuple(part for choice in chosen for part in choice)
        for chosen in itertools.product(*choices)
    ]
    # Those that leave out less come first.
    combined.sort(key=len)
    return [Arm(chosen) for chosen in combined if possible(chosen)]
