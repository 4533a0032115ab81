"""ArmRow: what leaving something out and training again did to one metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from surgery.stats import Verdict

Belief = Literal["", "confirmed", "refuted", "undecided"]


@dataclass(frozen=True)
class ArmRow:
    """One arm and one metric, in one context and tier.

    Attributes:
        arm: Its name.
        metric: Name of the metric.
        baseline: Mean over the seeds of the arm that it is compared with.
        value: Mean over the same seeds of the arm.
        delta: `value - baseline`, paired by seed.
        relative: `delta / |baseline|`.
        low: Lower end of the interval of `delta`.
        high: Upper end of it.
        p: Of the paired t test.
        p_adjusted: `p`, corrected for the number of arms.
        verdict: `important`: clearly worse without it; `harmful`: clearly better;
            `inconclusive`: these seeds cannot tell; `failed`: no seed has a value.
        expected: The change that was expected, or `worse`, `better`; may be `None`.
        n: Number of seeds compared.
        belief: What became of what was expected.
        against: The arm it is compared with.
        failed: How many of its trials failed.
        context: Name of the base config.
        tier: Name of the tier.
        group: The class of objectives that the metric is in.
        kind: feature, layer, factor or model; several for several parts.
        seconds: Mean time of a trial.
        parameters: Elements of all parameters of its model.
        macs: Multiply-adds of one sample; `None` where not known.
    """

    arm: str
    metric: str
    baseline: float
    value: float
    delta: float
    relative: float
    low: float
    high: float
    p: float
    p_adjusted: float
    verdict: Verdict
    expected: float | str | None
    n: int
    belief: Belief = ""
    against: str = "base"
    failed: int = 0
    context: str = ""
    tier: str = ""
    group: str = ""
    kind: str = ""
    seconds: float | None = None
    parameters: int | None = None
    macs: int | None = None
