"""Seeds of a study as users write them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from surgery.errors import StudyError

Seeds: TypeAlias = int | Iterable[int]


def seeds_of(seeds: Seeds) -> tuple[int, ...]:
    """Seeds as users write them: numbers, or how many.

    Raises:
        StudyError: There is none, or one comes twice.
    """
    given: Any = seeds
    if isinstance(given, int) and not isinstance(given, bool):
        given = range(given)
    found: tuple[int, ...] = tuple(given) if isinstance(given, Iterable) else ()
    numbers = all(isinstance(s, int) and not isinstance(s, bool) for s in found)
    if not found or not numbers or len(set(found)) < len(found):
        raise StudyError(
            "seeds= takes different whole numbers, such as range(5), or how many, got "
            f"{seeds!r}"
        )
    return found
