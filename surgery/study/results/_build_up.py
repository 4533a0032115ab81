"""The way back from the stripped arm to the full one, a step at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from surgery.errors import StudyError
from surgery.report import Column, Table
from surgery.stats import paired_runs
from surgery.study.results._elements import (
    base_of,
    elements,
    named,
    paired,
    settings,
    stripped_of,
    where,
    wholes_of,
)
from surgery.study.results._rows import ArmTrials
from surgery.study.results._together import without_empty


def build_up(
    arms: Sequence[ArmTrials], metric: str, higher_is_better: bool, confidence: float
) -> Table:
    """The longest chain of arms each of which leaves out less than the one before.

    One for each arm of which others leave out a part. Of chains of equal length, the
    one whose first step gains most, and so on.

    Raises:
        StudyError: No arm leaves out several things at once.
    """
    rows: list[dict[str, object]] = []
    for context, tier, here in settings(arms):
        most = stripped_of(here, metric)
        base = base_of(here)
        if most is None or base is None or not base.values(metric):
            continue
        for stripped in wholes_of(here, metric) or [most]:
            chain = _chain(here, stripped, metric, higher_is_better)
            rows += [
                {**where(context, tier), "from": stripped.arm.name, **step}
                for step in _steps(chain, metric, confidence)
            ]
    if not rows:
        raise StudyError(
            "a build-up needs an arm that leaves out several things, and the base, "
            "with trials of both that are complete; include a group (include_groups, "
            "include_group), or take a policy that walks from one config to another"
        )
    columns = (
        Column("context"),
        Column("tier"),
        Column("step", "integer"),
        Column("put_back", header="put back"),
        Column("left_out", header="still left out"),
        Column("value", "number", metric),
        Column("change", "signed"),
        Column("low", "signed"),
        Column("high", "signed"),
        Column("p", "p"),
        Column("regained", "percent"),
        Column("n", "integer", "seeds"),
    )
    return Table(
        f"Build-up of {metric}, from stripped to full",
        without_empty(columns, rows),
        tuple(rows),
        section="from",
        caption=(
            "change: against the step before with the same seed, with its "
            f"{100 * confidence:g} % interval (paired t; p is not corrected)."
        ),
    )


def _steps(
    chain: Sequence[ArmTrials], metric: str, confidence: float
) -> Iterator[dict[str, object]]:
    """A row per arm of a chain, each against the one before."""
    full, least = paired(metric, chain[-1], chain[0])
    whole = float(full.mean() - least.mean()) if len(full) else 0.0
    for step, one in enumerate(chain):
        before = chain[max(step - 1, 0)]
        old, new, first = paired(metric, before, one, chain[0])
        if not len(old):
            continue
        effect = paired_runs(old, new, confidence=confidence)
        regained = float(new.mean() - first.mean())
        gone = elements(before.arm) - elements(one.arm)
        yield {
            "step": step,
            "put_back": named(gone) if step else "",
            "left_out": one.arm.name if one.arm.parts else "",
            "value": effect.value,
            "change": effect.delta if step else None,
            "low": effect.low if step else None,
            "high": effect.high if step else None,
            "p": effect.p if step else None,
            "regained": regained / whole if whole else None,
            "n": effect.n,
        }


def _chain(
    arms: Sequence[ArmTrials], stripped: ArmTrials, metric: str, up: bool
) -> list[ArmTrials]:
    known = [(elements(one.arm), one) for one in arms if one.values(metric)]
    known.sort(key=lambda pair: len(pair[0]))
    lengths: dict[int, int] = {}
    following: dict[int, int] = {}
    for index, (left_out, _) in enumerate(known):
        best: tuple[int, float] | None = None
        for inner in range(index):
            if known[inner][0] < left_out and inner in lengths:
                rank = (lengths[inner], _gain(known[inner][1], stripped, metric, up))
                if best is None or rank > best:
                    best, following[index] = rank, inner
        # A chain ends at the base; what does not lead there is no way back.
        if not left_out or best is not None:
            lengths[index] = 1 + (best[0] if best else 0)
    index = next(i for i, (_, one) in enumerate(known) if one is stripped)
    chain = [stripped]
    while index in following:
        index = following[index]
        chain.append(known[index][1])
    return chain


def _gain(one: ArmTrials, stripped: ArmTrials, metric: str, up: bool) -> float:
    new, old = paired(metric, one, stripped)
    gain = float(new.mean() - old.mean()) if len(new) else float("-inf")
    return gain if up else -gain
