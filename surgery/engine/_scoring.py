"""Scoring: what a batch's outputs are worth, computed where they are.

The functions here look at shapes only. What the sweep would see in values on the host
(failed samples, labels out of range, whether outputs differ) goes into the ledger with
the metrics' values, and is judged when that is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from surgery.anatomy import tensors
from surgery.data import Form
from surgery.engine._answers import answering, asked
from surgery.engine._callable import CallableMetric
from surgery.engine._checks import Checks
from surgery.engine._ledger import Key, Ledger
from surgery.engine._metric import AbstractMetric, blamed
from surgery.engine._per_sample import PerSampleMetric
from surgery.engine._repeatable import require_repeatable
from surgery.engine._runner import Known, Runner
from surgery.engine._steps import failed_samples, main_output
from surgery.errors import BackendError

REFUSED = "labels refused"
FAILED = "samples failed"
DIFFERS = "outputs differ"
FAR = "outputs differ by more than rounding"


@final
class Scoring:
    """Scores batches of one form into a ledger.

    Args:
        runner: Whose model and step they are.
        form: Of the batches.
        size: Samples in a batch.
        metrics: What is measured.
        reached: Of each variant, whether its output is known to differ.
        slots: Batches that the ledger keeps.
        rounding: How far outputs may be apart that differ by rounding only.
        recorded: Whether what is launched for one batch is launched again for others.
    """

    def __init__(
        self,
        runner: Runner,
        form: Form,
        size: int,
        metrics: Sequence[AbstractMetric],
        reached: Sequence[bool],
        slots: int,
        rounding: float,
        *,
        recorded: bool = False,
    ) -> None:
        self.ledger: Ledger | None = None
        self.rows = 0
        """Rows of outputs per sample."""
        self.seen: set[Key] = set()
        self._base: list[Tensor] = []
        self._runner = runner
        self._form = form
        self._size = size
        self._metrics = metrics
        self._reached = reached
        self._slots = slots
        self._rounding = rounding
        self._recorded = recorded
        self._known: set[int] = set()

    def call(self, parts: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """With what inputs the step calls the model, for a batch of these tensors."""
        batch = self._form.filled(parts)
        given = asked(
            self._runner.model, lambda: self._runner.step(self._runner.model, batch)
        )
        return given.args, given.kwargs

    def score(
        self, parts: Sequence[Tensor], slot: Tensor, outputs: Mapping[Key, Any]
    ) -> None:
        """Take in outputs of a batch; see `Recipe.score`."""
        batch = self._form.filled(parts)
        keys: list[Key] = [None] if None in outputs else []
        keys += sorted(k for k in outputs if k is not None)
        given: dict[Key, Any] = {}
        labels: Any = None
        for key in keys:
            with answering(self._runner.model, Known(outputs[key]).answer):
                given[key], labels = self._runner.step(self._runner.model, batch)
        failed = torch.stack([failed_samples(given[key]) for key in keys])
        ledger = self._opened(failed)
        ledger.write(FAILED, keys, slot, failed)
        self._compare(ledger, slot, given)
        shown = next(iter(given.values()))
        for place, metric in enumerate(self._metrics):
            with blamed(metric.name, shown, labels):
                if isinstance(metric, PerSampleMetric):
                    self._measure(ledger, place, metric, slot, given, labels)
                elif isinstance(metric, CallableMetric):
                    self._call(ledger, place, metric, slot, given, labels)
        self.seen.update(keys)

    def _opened(self, failed: Tensor) -> Ledger:
        width = failed.shape[1]
        if self.ledger is None:
            self.rows, rest = divmod(width, self._size)
            if rest or not width:
                raise BackendError(f"{width} rows of outputs for {self._size} samples")
            self.ledger = Ledger(len(self._reached), width, self._slots, failed.device)
        if width != self.ledger.width:
            raise BackendError("the number of rows of outputs changes")
        return self.ledger

    def _compare(self, ledger: Ledger, slot: Tensor, given: Mapping[Key, Any]) -> None:
        """Which outputs differ from the untouched model's, of those not known to."""
        if None in given:
            self._keep(tensors(given[None]))
        open_ = [k for k in given if k is not None and not self._reached[k]]
        if not open_:
            return
        pairs = [(self._base, tensors(given[key])) for key in open_]
        differs = torch.stack([_differ(*pair) for pair in pairs])
        far = torch.stack([_far(*pair, self._rounding) for pair in pairs])
        ledger.write(DIFFERS, open_, slot, differs)
        ledger.write(FAR, open_, slot, far)

    def _keep(self, base: Sequence[Tensor]) -> None:
        """Keep the untouched model's outputs for later passes, which have none.

        Always in the same memory: what is recorded is recorded for that.
        """
        if all(self._reached):
            return
        if [x.shape for x in base] != [x.shape for x in self._base]:
            self._base = [x.clone() for x in base]
        else:
            for held, new in zip(self._base, base, strict=True):
                held.copy_(new)

    def _measure(
        self,
        ledger: Ledger,
        place: int,
        metric: PerSampleMetric,
        slot: Tensor,
        given: Mapping[Key, Any],
        labels: Any,
    ) -> None:
        keys, checks = list(given), Checks()
        main = [main_output(item) for item in given.values()]
        if _in_one_go(main, labels):
            joined = torch.cat(main), labels.repeat(len(keys))
            values, weights = metric.formula(*joined, checks)
            values = values.view(len(keys), -1)
            weights = None if weights is None else weights.view(len(keys), -1)[0]
        else:
            found = [metric.formula(item, labels, checks) for item in given.values()]
            values, weights = torch.stack([one for one, _ in found]), found[0][1]
        ledger.write((place, ""), keys, slot, values)
        if None not in given:
            return  # labels are the same for all
        if weights is not None:
            ledger.write((place, "weights"), [None], slot, weights[None])
        if checks.ignored is not None:
            ledger.write((place, "ignored"), [None], slot, checks.ignored[None])
        if checks.refused is not None:
            ledger.write((place, REFUSED), [None], slot, checks.refused[None])

    def _call(
        self,
        ledger: Ledger,
        place: int,
        metric: CallableMetric,
        slot: Tensor,
        given: Mapping[Key, Any],
        labels: Any,
    ) -> None:
        if self._recorded and place not in self._known:
            shown = next(iter(given.values()))
            require_repeatable(metric.name, metric.function, shown, labels)
            self._known.add(place)
        found = [metric.named(metric.function(item, labels)) for item in given.values()]
        if any(one.keys() != found[0].keys() for one in found):
            raise BackendError(f"{metric.name} gives other names from call to call")
        for name in found[0]:
            values = [one[name] for one in found]
            if not all(_is_per_sample(value, ledger.width) for value in values):
                raise BackendError(f"{metric.name} does not give tensors per sample")
            ledger.write((place, name), list(given), slot, torch.stack(values))


def _in_one_go(main: Sequence[Tensor], labels: Any) -> bool:
    """Whether a formula's values are the same bits if all variants are one batch.

    They are where each row has one decision: nothing is summed up over positions.
    """
    return (
        isinstance(labels, Tensor)
        and labels.ndim == 1
        and all(x.ndim <= 2 and x.shape == main[0].shape for x in main)
        and len({x.dtype for x in main}) == 1
    )


def _is_per_sample(value: Any, width: int) -> bool:
    return isinstance(value, Tensor) and tuple(value.shape) == (width,)


def _differ(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    """Whether any value differs; as `differ`, on the device."""
    if [x.shape for x in ours] != [x.shape for x in theirs]:
        return torch.ones((), dtype=torch.bool, device=ours[0].device)
    pairs = zip(ours, theirs, strict=True)
    return torch.stack([(a != b).any() for a, b in pairs]).any()


def _far(ours: Sequence[Tensor], theirs: Sequence[Tensor], rounding: float) -> Tensor:
    """Whether any value differs by more than rounding; as not `close`."""
    if [x.shape for x in ours] != [x.shape for x in theirs]:
        return torch.ones((), dtype=torch.bool, device=ours[0].device)
    pairs = zip(ours, theirs, strict=True)
    return torch.stack([_far_apart(a, b, rounding) for a, b in pairs]).any()


def _far_apart(a: Tensor, b: Tensor, rounding: float) -> Tensor:
    unlike = a != b
    if not a.is_floating_point() or not a.numel():
        return unlike.any()
    finite = torch.where(a.isfinite(), a, 0)
    allowed = max(rounding, 8 * torch.finfo(a.dtype).eps) * finite.abs().amax()
    near = (a - b).abs() <= allowed
    return (unlike & ~near & ~(a.isnan() & b.isnan())).any()
