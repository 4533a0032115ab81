"""Objectives: the metrics of a study as users write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from surgery.errors import StudyError
from surgery.study.policies import Objective

MetricLike: TypeAlias = str | Sequence[str] | Mapping[str, str | Sequence[str]]
DirectionLike: TypeAlias = str | Mapping[str, str]


def objectives_of(
    metric: MetricLike, direction: DirectionLike
) -> tuple[Objective, ...]:
    """One objective per metric, in order; a mapping names classes of them.

    Raises:
        StudyError: There is none, one comes twice, or a direction is unknown.
    """
    grouped: Mapping[str, str | Sequence[str]]
    grouped = metric if isinstance(metric, Mapping) else {"": metric}
    found: list[Objective] = []
    for group, listed in grouped.items():
        for name in [listed] if isinstance(listed, str) else listed:
            if not isinstance(name, str) or not name:
                raise StudyError(
                    f"metric= takes names of what train returns, got {name!r}; write "
                    "metric='accuracy', a list, or {'class': [...]}"
                )
            found.append(Objective(name, _direction(name, direction), group))  # type: ignore[arg-type] # pyright: ignore
    names = [objective.metric for objective in found]
    if not names or len(set(names)) < len(names):
        raise StudyError(
            "metric= needs at least one name and each only once, got "
            f"{', '.join(names) or 'none'}"
        )
    if isinstance(direction, Mapping):
        unknown = set(direction) - set(names)
        if unknown:
            raise StudyError(
                f"direction= names {', '.join(sorted(unknown))}, which metric= does "
                f"not; it has {', '.join(names)}"
            )
    return tuple(found)


def _direction(name: str, direction: DirectionLike) -> str:
    one = direction if isinstance(direction, str) else direction.get(name, "max")
    if one not in ("max", "min"):
        raise StudyError(f"direction of {name!r} must be 'max' or 'min', got {one!r}")
    return one
