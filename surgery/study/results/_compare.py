"""Lesion against retraining: does the cheap score predict the dear one?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from surgery.errors import StudyError
from surgery.ranking import Ranking, Row
from surgery.stats import Agreement, rank_agreement
from surgery.study.arms import FeaturePart, LayerPart
from surgery.study.results._comparison import ComparedRow, Comparison, Says
from surgery.study.results._row import ArmRow
from surgery.study.results._rows import ArmTrials


def compared(
    rows: Sequence[ArmRow],
    arms: Sequence[ArmTrials],
    ranking: Ranking,
    objective: tuple[str, bool],
    ranked: str | None,
    confidence: float,
) -> Comparison:
    """Puts rows of a study and of a ranking side by side.

    Args:
        objective: The study's metric and whether it is good if large.
        ranked: The ranking's metric; by default the same, else its first.

    Raises:
        StudyError: They have no component in common.
    """
    from scipy.stats import rankdata

    metric, up = objective
    lesion_metric, lesions, sign = _lesions(ranking, metric, ranked)
    components = {
        (one.context, one.tier, one.arm.name): name
        for one in arms
        if (name := _component(one)) is not None
    }
    found: dict[tuple[str, str], list[tuple[ArmRow, Row]]] = {}
    missing: list[str] = []
    for row in rows:
        name = components.get((row.context, row.tier, row.arm))
        if row.metric != metric or name is None:
            continue
        if name not in lesions:
            missing.append(row.arm)
        elif math.isfinite(row.delta) and math.isfinite(lesions[name].delta):
            pairs = found.setdefault((row.context, row.tier), [])
            pairs.append((row, lesions[name]))
    if not found:
        theirs = ", ".join(sorted(row.component for row in lesions.values())) or "none"
        raise StudyError(
            "the study and the ranking have no component in common: rank the layers "
            f"that the study leaves out; the ranking has {theirs}"
        )
    shown: list[ComparedRow] = []
    agreements: dict[tuple[str, str], Agreement] = {}
    for (context, tier), pairs in found.items():
        lost = [sign * lesion.delta for _, lesion in pairs]
        missed = [(-row.delta if up else row.delta) for row, _ in pairs]
        agreements[context, tier] = rank_agreement(lost, missed, confidence=confidence)
        places = rankdata([-value for value in lost]).tolist()
        others = rankdata([-value for value in missed]).tolist()
        for index, (row, lesion) in enumerate(pairs):
            ends = sorted((sign * lesion.low, sign * lesion.high))
            own = sorted((-row.low, -row.high) if up else (row.low, row.high))
            shown.append(
                ComparedRow(
                    component=row.arm,
                    lesion=lost[index],
                    lesion_low=ends[0],
                    lesion_high=ends[1],
                    lesion_rank=places[index],
                    retrained=missed[index],
                    low=own[0],
                    high=own[1],
                    rank=others[index],
                    says=_says(lesion.verdict, row.verdict),
                    context=context,
                    tier=tier,
                )
            )
    return Comparison(
        tuple(shown),
        agreements,
        metric,
        lesion_metric,
        tuple(dict.fromkeys(missing)),
        confidence,
    )


def _lesions(
    ranking: Ranking, metric: str, ranked: str | None
) -> tuple[str, dict[frozenset[str], Row], float]:
    """The ranking's metric, its rows by component, and the sign that makes harm."""
    known = list(dict.fromkeys(row.metric for row in ranking))
    if ranked is not None and ranked not in known:
        raise StudyError(
            f"the ranking has no metric {ranked!r}; it has {', '.join(known)}"
        )
    if not known:
        raise StudyError("the ranking is empty: rank the layers of the study")
    chosen = ranked or (metric if metric in known else known[0])
    better: Any = ranking.provenance.get("higher_is_better") or {}
    up = better.get(chosen)
    if up is None:
        raise StudyError(
            f"the ranking does not say whether {chosen} is good if large: rank with "
            f"higher_is_better={{{chosen!r}: True}}"
        )
    rows = {_members(row.component): row for row in ranking if row.metric == chosen}
    return chosen, rows, -1.0 if up else 1.0


def _component(one: ArmTrials) -> frozenset[str] | None:
    """What a ranking calls what this arm leaves out; `None`: it has no name for it."""
    if len(one.arm.parts) != 1:
        return None
    match one.arm.parts[0]:
        case LayerPart(targets=targets):
            return frozenset(targets)
        case FeaturePart(features=features):
            return frozenset(f"input:{name}" for name in features)
        case _:
            return None


def _members(component: str) -> frozenset[str]:
    return frozenset(component.split(" + "))


def _says(lesion: str, retrained: str) -> Says:
    matter = [word in ("important", "harmful") for word in (lesion, retrained)]
    if all(matter):
        return "both" if lesion == retrained else "opposite"
    if not any(matter):
        return "neither"
    return "lesion only" if matter[0] else "retraining only"
