"""What arms leave out, piece by piece, and arms paired by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surgery.errors import StudyError
from surgery.report import JSONValue
from surgery.study.arms import Arm, FactorPart, FeaturePart, LayerPart, Part
from surgery.study.results._rows import ArmTrials

Element = tuple[str, str, str]
"""Kind, name, and how it is left out."""


def elements(arm: Arm) -> frozenset[Element]:
    """Everything that an arm leaves out; a group counts as what it holds."""
    return frozenset(element for part in arm.parts for element in _pieces(part))


def named(left_out: frozenset[Element]) -> str:
    return " + ".join(name for _, name, _ in sorted(left_out))


def _pieces(part: Part) -> list[Element]:
    match part:
        case LayerPart():
            return [("layer", target, part.remove) for target in part.targets]
        case FeaturePart():
            return [("feature", name, part.remove) for name in part.features]
        case FactorPart():
            return [("factor", path, repr(v)) for path, v in part.values.items()]
        case _:
            return [(part.kind, part.name, "")]


def settings(arms: Sequence[ArmTrials]) -> list[tuple[str, str, list[ArmTrials]]]:
    """Context, tier and arms of each setting that has something to show."""
    keys = list(dict.fromkeys((one.context, one.tier) for one in arms if one.started))
    return [
        (
            *key,
            [one for one in arms if (one.context, one.tier) == key and one.started],
        )
        for key in keys
    ]


def base_of(arms: Sequence[ArmTrials]) -> ArmTrials | None:
    return next((one for one in arms if not one.arm.parts), None)


def wholes_of(arms: Sequence[ArmTrials], metric: str) -> list[ArmTrials]:
    """Arms that leave out several things of which others leave out some.

    Of arms inside one another the outermost: what a full factorial strips, or a path
    ends at, is one whole; groups that have nothing in common are one each.
    """
    known = _left_out(arms, metric)
    return [
        one
        for whole, one in known.items()
        if len(whole) > 1
        and any(other and other < whole for other in known)
        and not any(whole < other for other in known)
    ]


def stripped_of(arms: Sequence[ArmTrials], metric: str) -> ArmTrials | None:
    """The arm that leaves out most, if it leaves out more than one thing."""
    known = _left_out(arms, metric)
    most = max(known, key=len, default=frozenset[Element]())
    return known[most] if len(most) > 1 else None


def _left_out(
    arms: Sequence[ArmTrials], metric: str
) -> dict[frozenset[Element], ArmTrials]:
    """Arms that the metric is known of, by what they leave out."""
    found: dict[frozenset[Element], ArmTrials] = {}
    for one in arms:
        if one.values(metric):
            found.setdefault(elements(one.arm), one)
    return found


def paired(metric: str, *arms: ArmTrials) -> list[NDArray[Any]]:
    """The metric of each, over the seeds that all of them have."""
    values = [one.values(metric) for one in arms]
    seeds = sorted(set(values[0]).intersection(*values[1:]))
    return [np.array([value[seed] for seed in seeds]) for value in values]


def metric_of(provenance: Mapping[str, JSONValue], metric: str | None) -> str:
    """The metric asked for, by default the study's first.

    Raises:
        StudyError: The study has no such metric.
    """
    listed: Any = provenance.get("objectives") or []
    known = [one["metric"] for one in listed]
    if metric is None and known:
        return str(known[0])
    if metric not in known:
        raise StudyError(
            f"the study has no metric {metric!r}; it has {', '.join(known) or 'none'}"
        )
    return str(metric)


def where(context: str, tier: str) -> dict[str, str]:
    return {"context": context, "tier": tier}
