"""Names that tell all parts of a study apart."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from surgery.study.arms._arm import BASE
from surgery.study.arms._part import Part


def distinctly_named(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The parts; where names clash, each says its kind too.

    A feature and a layer may both be called `age`: they become `feature age` and
    `layer age`.
    """
    counts = Counter(part.name for part in parts)
    return tuple(
        dataclasses.replace(part, name=f"{part.kind} {part.name}")
        if counts[part.name] > 1 or part.name == BASE
        else part
        for part in parts
    )
