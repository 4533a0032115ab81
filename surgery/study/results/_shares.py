"""main_effects and shapley_values: what a part does, averaged over the others."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from surgery.errors import StudyError
from surgery.stats import Evidence, paired_runs
from surgery.study.policies import Shapley
from surgery.study.results._results import StudyResults
from surgery.study.results._rows import ArmTrials
from surgery.study.results._share import Share, Shares
from surgery.study.results._views import higher_is_better


def main_effects(
    results: StudyResults,
    metric: str | None = None,
    evidence: Evidence = Evidence(),
) -> Shares:
    """Mean of the arms without a part less that of the arms with it.

    That is a part's effect where arms are balanced: after `Factorial` and
    `FractionalFactorial`. Of a factor with several values, each is compared with the
    arms that leave the factor alone. Seeds that lack an arm do not count.

    Args:
        results: Of a study with such a policy.
        metric: By default the main one.
        evidence: The confidence of the intervals.
    """
    found: list[Share] = []
    for (context, tier), arms in _settings(results).items():
        name, values = _values(results, arms, metric)
        slots = {part.name: part.slot for one in arms for part in one.arm.parts}
        for part, slot in slots.items():
            rivals = {other for other, its in slots.items() if its == slot}
            out = [key for key in values if part in key]
            left = [key for key in values if not rivals & key]
            seeds = sorted(set.intersection(*(set(values[k]) for k in [*out, *left])))
            found.append(
                _share(
                    part,
                    name,
                    {s: statistics.fmean(values[k][s] for k in left) for s in seeds},
                    {s: statistics.fmean(values[k][s] for k in out) for s in seeds},
                    evidence,
                    (context, tier),
                )
            )
    return _shares(found, results, f"Main effects on {_metric(found)}", evidence)


def shapley_values(
    results: StudyResults,
    policy: Shapley,
    metric: str | None = None,
    evidence: Evidence = Evidence(),
) -> Shares:
    """Each part's share of what leaving out all of them changes.

    Intervals are over seeds, with the orders as they were sampled; more orders bring
    the shares nearer to the exact ones.

    Args:
        results: Of a study with this policy.
        policy: The one that it was run with.
        metric: By default the main one.
        evidence: The confidence of the intervals.

    Raises:
        StudyError: An arm of an order has no complete trial: run the study to its end.
    """
    found: list[Share] = []
    for setting, arms in _settings(results).items():
        name, values = _values(results, arms, metric)
        parts = {part.name: part for one in arms for part in one.arm.parts}
        orders = policy.sampled(list(parts.values()))
        keys = {
            frozenset(part.name for part in order[:size])
            for order in orders
            for size in range(len(order) + 1)
        }
        missing = [key for key in keys if not values.get(key)]
        if missing:
            shown = " + ".join(sorted(missing[0])) or "base"
            raise StudyError(
                f"arm {shown!r} has no complete trial, which the Shapley values need; "
                "run the study to its end, with this policy"
            )
        seeds = sorted(set.intersection(*(set(values[key]) for key in keys)))
        for part in (one.name for one in orders[0]):
            before: dict[int, list[float]] = {seed: [] for seed in seeds}
            after: dict[int, list[float]] = {seed: [] for seed in seeds}
            for order in orders:
                names = [one.name for one in order]
                place = names.index(part)
                for seed in seeds:
                    before[seed].append(values[frozenset(names[:place])][seed])
                    after[seed].append(values[frozenset(names[: place + 1])][seed])
            found.append(
                _share(
                    part,
                    name,
                    {seed: statistics.fmean(of) for seed, of in before.items()},
                    {seed: statistics.fmean(of) for seed, of in after.items()},
                    evidence,
                    setting,
                )
            )
    return _shares(found, results, f"Shapley values of {_metric(found)}", evidence)


def _shares(
    found: Sequence[Share], results: StudyResults, title: str, evidence: Evidence
) -> Shares:
    """Most harmful first, in each setting."""
    up = higher_is_better(results.provenance)
    places = list(dict.fromkeys((one.context, one.tier) for one in found))

    def place(one: Share) -> tuple[int, float]:
        harm = -one.value if up.get(one.metric, True) else one.value
        return places.index((one.context, one.tier)), -harm

    return Shares(tuple(sorted(found, key=place)), title, evidence.confidence)


def _metric(found: Sequence[Share]) -> str:
    return found[0].metric if found else "nothing"


def _settings(results: StudyResults) -> dict[tuple[str, str], list[ArmTrials]]:
    found: dict[tuple[str, str], list[ArmTrials]] = {}
    for one in results.arms:
        found.setdefault((one.context, one.tier), []).append(one)
    return found


def _values(
    results: StudyResults, arms: Sequence[ArmTrials], metric: str | None
) -> tuple[str, dict[frozenset[str], dict[int, float]]]:
    """The metric by arm and seed, of arms that have any."""
    known = list(dict.fromkeys(row.metric for row in results))
    objectives = results.provenance.get("objectives")
    if isinstance(objectives, list) and objectives:
        known = [str(one["metric"]) for one in objectives if isinstance(one, dict)]
    name = metric or known[0]
    if name not in known:
        raise StudyError(f"no metric {name!r}; the study has {', '.join(known)}")
    values = {one.arm.key: one.values(name) for one in arms}
    return name, {key: by_seed for key, by_seed in values.items() if by_seed}


def _share(
    part: str,
    metric: str,
    before: Mapping[int, float],
    after: Mapping[int, float],
    evidence: Evidence,
    setting: tuple[str, str],
) -> Share:
    seeds = sorted(before)
    if not seeds:
        raise StudyError(
            f"no seed has all the arms that the effect of {part!r} needs; run the "
            "study to its end"
        )
    effect = paired_runs(
        np.array([before[seed] for seed in seeds]),
        np.array([after[seed] for seed in seeds]),
        confidence=evidence.confidence,
    )
    return Share(
        part,
        metric,
        effect.delta,
        effect.low,
        effect.high,
        effect.p,
        effect.n,
        *setting,
    )
