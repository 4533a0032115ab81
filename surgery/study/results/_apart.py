"""Changes of an arm seed by seed: what comparisons across settings are made of."""

from __future__ import annotations

from collections.abc import Sequence

from surgery.study.results._rows import ArmTrials


def found(
    arms: Sequence[ArmTrials], context: str, tier: str, key: frozenset[str]
) -> ArmTrials | None:
    """An arm in one context and tier."""
    for one in arms:
        if (one.context, one.tier, one.arm.key) == (context, tier, key):
            return one
    return None


def changes(arms: Sequence[ArmTrials], one: ArmTrials, metric: str) -> dict[int, float]:
    """By seed, the arm's metric minus that of the arm it is compared with."""
    other = found(arms, one.context, one.tier, one.arm.reference.key)
    base = {} if other is None else other.values(metric)
    values = one.values(metric)
    return {seed: values[seed] - base[seed] for seed in values if seed in base}
