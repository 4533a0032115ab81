"""Row: what taking one component away did to one metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from surgery.measurement import Reach
from surgery.report import JSONValue

Verdict = Literal["important", "harmful", "inconclusive", "failed"]


@dataclass(frozen=True)
class Row:
    """One component and one metric.

    Attributes:
        component: The target that names it.
        metric: Name of the metric.
        baseline: The metric of the untouched model.
        value: The metric of the model with the component operated on.
        delta: `value - baseline`.
        low: Lower end of the interval of `delta`.
        high: Upper end of it.
        p: How likely so large a change is if the component made no difference.
        p_adjusted: `p`, corrected for the number of components.
        verdict: `important`: clearly worse without it; `harmful`: clearly better
            without it; `inconclusive`: these data cannot tell; `failed`: it could
            not be measured.
        effect: How far the operation reached: `full` changed the model's output,
            `local` only the component's own, `none` not even that.
        n: Samples that were compared.
        group: The table it belongs to, where metrics come in named groups.
        failed: Samples that failed only with the component operated on.
        note: What else must be known to read this row.
    """

    component: str
    metric: str
    baseline: float
    value: float
    delta: float
    low: float
    high: float
    p: float
    p_adjusted: float
    verdict: Verdict
    effect: Reach
    n: int
    group: str = ""
    failed: int = 0
    note: str = ""


class Ranked(Protocol):
    """What drawers see of a ranking."""

    @property
    def rows(self) -> tuple[Row, ...]: ...
    @property
    def provenance(self) -> Mapping[str, JSONValue]: ...
    @property
    def skipped(self) -> tuple[dict[str, JSONValue], ...]: ...
    @property
    def failures(self) -> tuple[dict[str, JSONValue], ...]: ...
