"""Parts against the whole: shares of a total, and single effects against joint ones."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from surgery.errors import StudyError
from surgery.report import Column, Table
from surgery.stats import paired_runs, ratio_of_means
from surgery.study.results._elements import (
    base_of,
    elements,
    paired,
    settings,
    where,
    wholes_of,
)
from surgery.study.results._rows import ArmTrials

_PLACE = (Column("context"), Column("tier"))


def shares(arms: Sequence[ArmTrials], metric: str, confidence: float) -> Table:
    """What share each arm has in what it does together with others.

    Raises:
        StudyError: No arm leaves out several things at once.
    """
    rows: list[dict[str, object]] = []
    for context, tier, here in settings(arms):
        base = base_of(here)
        wholes = [] if base is None else wholes_of(here, metric)
        for whole, one in itertools.product(wholes, here):
            if not one.arm.parts or not elements(one.arm) <= elements(whole.arm):
                continue
            assert base is not None
            full, part, total = paired(metric, base, one, whole)
            if not len(full):
                continue
            share, low, high = ratio_of_means(
                part - full, total - full, confidence=confidence
            )
            if one is whole:
                low = high = share  # of itself, whether or not it does anything
            rows.append(
                {
                    **where(context, tier),
                    "arm": one.arm.name,
                    "change": float(np.mean(part - full)),
                    "total": float(np.mean(total - full)),
                    "share": share,
                    "low": low,
                    "high": high,
                    "interval": (low, high),
                    "of": whole.arm.name,
                    "n": len(full),
                }
            )
    _require(rows, "shares of a total need")
    columns = (
        *_PLACE,
        Column("arm"),
        Column("change", "signed"),
        Column("total", "signed"),
        Column("share", "percent"),
        Column("low", "percent"),
        Column("high", "percent"),
        Column("of"),
        Column("n", "integer", "seeds"),
    )
    return Table(
        f"Shares of the change of {metric} from the full to the stripped arm",
        without_empty(columns, rows),
        tuple(rows),
        section="of",
        caption=(
            "share: an arm's change over that of everything together, with its "
            f"{_level(confidence)} interval after Fieller, which has no end where the "
            "total may be nothing. Shares need not add up to 100 %."
        ),
    )


def joint(arms: Sequence[ArmTrials], metric: str, confidence: float) -> Table:
    """What things left out together do, against the sum of what each does alone.

    Raises:
        StudyError: No arm leaves out things that are also left out alone.
    """
    rows: list[dict[str, object]] = []
    for context, tier, here in settings(arms):
        base = base_of(here)
        for one in here if base is not None else ():
            pieces = _pieces(one, here)
            if base is None or not pieces:
                continue
            full, both, *single = paired(metric, base, one, *pieces)
            if not len(full):
                continue
            alone = np.sum([value - full for value in single], axis=0)
            effect = paired_runs(alone, both - full, confidence=confidence)
            rows.append(
                {
                    **where(context, tier),
                    "arm": one.arm.name,
                    "sum": effect.baseline,
                    "joint": effect.value,
                    "difference": effect.delta,
                    "low": effect.low,
                    "high": effect.high,
                    "p": effect.p,
                    "n": effect.n,
                }
            )
    _require(rows, "a joint effect needs")
    columns = (
        *_PLACE,
        Column("arm"),
        Column("sum", "signed", "sum of\nsingle effects"),
        Column("joint", "signed", "joint\neffect"),
        Column("difference", "signed", "joint\nminus sum"),
        Column("low", "signed"),
        Column("high", "signed"),
        Column("p", "p"),
        Column("n", "integer", "seeds"),
    )
    return Table(
        f"Changes of {metric}: together against one by one",
        without_empty(columns, rows),
        tuple(rows),
        caption=(
            f"low, high: {_level(confidence)} interval of joint minus sum, paired t; "
            "p is not corrected."
        ),
    )


def without_empty(
    columns: Sequence[Column], rows: Sequence[dict[str, object]]
) -> tuple[Column, ...]:
    """Without context and tier where there is one of them."""
    return tuple(
        column
        for column in columns
        if column not in _PLACE or any(row.get(column.name) for row in rows)
    )


def _pieces(one: ArmTrials, here: Sequence[ArmTrials]) -> list[ArmTrials]:
    """The arms that leave out one by one what this one leaves out together."""
    whole = elements(one.arm)
    if len(whole) < 2:
        return []
    by_elements = {elements(other.arm): other for other in reversed(here)}
    single = [by_elements.get(frozenset([element])) for element in sorted(whole)]
    if all(single):
        return [piece for piece in single if piece]
    by_name = {other.arm.key: other for other in here}
    parts = [by_name.get(frozenset([part.name])) for part in one.arm.parts]
    found = [piece for piece in parts if piece]
    return found if len(found) == len(parts) > 1 else []


def _require(rows: Sequence[object], what: str) -> None:
    if not rows:
        raise StudyError(
            f"{what} an arm that leaves out several things of which others leave out "
            "one each, and trials of both that are complete; include a group beside "
            "its members (include_groups, include_group), or take another policy"
        )


def _level(confidence: float) -> str:
    return f"{100 * confidence:g} %"
