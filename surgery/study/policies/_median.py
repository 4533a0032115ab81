"""MedianStopping: any policy, whose hopeless and diverged trials are ended."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Literal, final

from surgery.errors import StudyError
from surgery.study.arms import Arm, Part
from surgery.study.policies._base import AbstractPolicy, Findings, Running
from surgery.study.policies._leave_one_out import LeaveOneOut
from surgery.study.trials import Curve


@final
class MedianStopping(AbstractPolicy):
    """Ends trials whose best value so far is worse than the median of the others.

    Others are the trials that have come as far, of any arm; of each, its mean so far
    counts. A trial that logs something
    that is not finite, or that is `divergence` times as bad as at its beginning, ends
    too. Trials that ended so are PRUNED, with the reason. The base is only ended if it
    diverges: everything is compared with it.

    Golovin et al., "Google Vizier: a service for black-box optimization", 2017.

    Args:
        policy: Which arms are tried; by default each part left out by itself.
        metric: Which logged metric to go by; by default the study's main one.
        direction: Whether it is good if large or small; by default as the study's
            metric of that name, and `"min"` for others, which are losses.
        warmup: Steps that every trial is given before it may be hopeless.
        others: How many other trials must have come as far.
        margin: By how much the best value may be worse than the median. With none, the
            rule ends about half of all arms that are as good as each other.
        divergence: How many times a metric that should be small may exceed its first
            value; `None`: however much.
    """

    watches = True

    def __init__(
        self,
        policy: AbstractPolicy | None = None,
        *,
        metric: str | None = None,
        direction: Literal["max", "min"] | None = None,
        warmup: float = 1,
        others: int = 3,
        margin: float = 0.0,
        divergence: float | None = None,
    ) -> None:
        if direction not in (None, "max", "min"):
            raise StudyError(f"direction must be 'max' or 'min', got {direction!r}")
        if others < 1:
            raise StudyError(f"others must be at least 1, got {others!r}")
        if divergence is not None and divergence <= 1:
            raise StudyError(f"divergence must be more than 1, got {divergence!r}")
        self.policy = policy or LeaveOneOut()
        self.metric = metric
        self.direction = direction
        self.warmup = warmup
        self.others = others
        self.margin = margin
        self.divergence = divergence
        self.name = f"{self.policy.name}, median stopping"

    def next(self, findings: Findings) -> Sequence[Arm] | None:
        return self.policy.next(findings)

    def count(self, parts: Sequence[Part], seeds: int) -> int | None:
        return self.policy.count(parts, seeds)

    def finish(self, findings: Findings) -> None:
        self.policy.finish(findings)

    def stop(self, running: Running, findings: Findings) -> str:
        if self.policy.watches and (reason := self.policy.stop(running, findings)):
            return reason
        metric = self.metric or findings.objectives[0].metric
        sign = 1.0 if self._rises(metric, findings) else -1.0
        own = _until(running.curve, metric, running.step)
        if reason := self._diverged(running, metric, own, sign):
            return reason
        if not own or not running.arm.parts or running.step < self.warmup:
            return ""
        means: list[float] = []
        for _, curve in running.others.values():
            has_come_as_far = any(s >= running.step for s, _ in curve.get(metric, ()))
            values = _until(curve, metric, running.step)
            if has_come_as_far and values and all(map(math.isfinite, values)):
                means.append(sign * statistics.fmean(values))
        if len(means) < self.others:
            return ""
        best, median = max(sign * value for value in own), statistics.median(means)
        if best >= median - self.margin:
            return ""
        return (
            f"hopeless: {metric} is at best {sign * best:.6g} by step "
            f"{running.step:g}, the median of {len(means)} others {sign * median:.6g}"
        )

    def _diverged(
        self, running: Running, metric: str, own: Sequence[float], sign: float
    ) -> str:
        for name, points in running.curve.items():
            for step, value in points:
                if step == running.step and not math.isfinite(value):
                    return f"diverged: {name} is {value} at step {step:g}"
        if self.divergence is not None and sign < 0 and len(own) > 1:
            first, last = own[0], own[-1]
            if first > 0 and last > self.divergence * first:
                return (
                    f"diverged: {metric} is {last:.6g} at step {running.step:g}, "
                    f"{last / first:.3g} times what it was at first"
                )
        return ""

    def _rises(self, metric: str, findings: Findings) -> bool:
        if self.direction is not None:
            return self.direction == "max"
        for objective in findings.objectives:
            if objective.metric == metric:
                return objective.higher_is_better
        return False


def _until(curve: Curve, metric: str, step: float) -> list[float]:
    return [value for at, value in curve.get(metric, ()) if at <= step]
