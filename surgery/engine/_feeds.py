"""Feeds: turn outputs and labels into what a torchmetrics metric is updated with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, final

import torch
from torch import Tensor

from surgery.data._samples import batch_length
from surgery.engine._layout import IGNORED, ClassificationLayout
from surgery.engine._steps import main_output

if TYPE_CHECKING:
    from torchmetrics import Metric


@dataclass(frozen=True)
class Fed:
    """Arguments of `Metric.update` for a batch.

    Attributes:
        predictions: First argument.
        labels: Second argument.
        length: Number of samples in both.
        meaningless: Whether failed samples are in it that could not be made wrong.
    """

    predictions: Any
    labels: Any
    length: int
    meaningless: bool = False


class AbstractFeed(ABC):
    """Serves all outcomes of one metric, and owns the working copy they share."""

    metric: Metric
    """Only its states differ between outcomes; set once `feed` was called."""
    classes: int = 0
    """Of the batches fed, where the metric is made for so many."""

    @abstractmethod
    def feed(self, outputs: Any, labels: Any, failed: Tensor | None) -> Fed:
        """Prepare a batch."""

    def prepare(self, classes: int) -> None:  # noqa: B027  # most have nothing to do
        """Be as after a batch with so many classes, which another process has fed."""


@final
class ScoresFeed(AbstractFeed):
    """Precision, recall and f1 of class indices.

    With two classes the plain names score class 1, as scikit-learn does; with more
    they are micro averages, which are the accuracy. `macro` is the mean over classes.
    """

    def __init__(self, name: str, kind: str, macro: bool) -> None:
        self._layout = ClassificationLayout(name)
        self._kind, self._macro = kind, macro

    def feed(self, outputs: Any, labels: Any, failed: Tensor | None) -> Fed:
        item = self._layout(outputs, labels)
        self.prepare(item.classes)
        predictions = item.predictions()
        if failed is not None:
            wrong = (item.labels + 1) % item.classes
            marked = failed.to(predictions.device).unsqueeze(1)
            predictions = torch.where(marked, wrong, predictions)
        return Fed(predictions, item.labels, len(predictions))

    def prepare(self, classes: int) -> None:
        if classes == self.classes:
            return
        from torchmetrics import classification

        words = {"precision": "Precision", "recall": "Recall", "f1": "F1Score"}
        if classes == 2 and not self._macro:
            make = getattr(classification, f"Binary{words[self._kind]}")
            metric = make(ignore_index=IGNORED, validate_args=False)
        else:
            make = getattr(classification, f"Multiclass{words[self._kind]}")
            metric = make(
                num_classes=classes,
                average="macro" if self._macro else "micro",
                ignore_index=IGNORED,
                validate_args=False,
            )
        self.metric, self.classes = working_copy(metric), classes


@final
class GivenFeed(AbstractFeed):
    """A user's metric, given what the step returned.

    Outputs are reduced to their main tensor where labels are a tensor, and passed as
    they are where they are not, as of detectors.
    """

    def __init__(self, metric: Metric) -> None:
        self.metric = working_copy(metric)
        module = type(metric).__module__
        self._classifies = module.startswith("torchmetrics.classification")

    def feed(self, outputs: Any, labels: Any, failed: Tensor | None) -> Fed:
        predictions = outputs
        if isinstance(labels, Tensor):
            predictions = main_output(outputs).detach()
        length = fed_length(predictions, labels, failed)
        if self._classifies and isinstance(predictions, Tensor):
            predictions = _normalised(predictions, labels, failed)
        if failed is None or not bool(failed.any()):
            return Fed(predictions, labels, length)
        wrong = self._wrong(predictions, labels)
        if wrong is None:
            return Fed(predictions, labels, length, meaningless=True)
        marked = failed.to(wrong.device).reshape(-1, *[1] * (wrong.ndim - 1))
        return Fed(torch.where(marked, wrong, predictions), labels, length)

    def _wrong(self, predictions: Any, labels: Any) -> Tensor | None:
        """Surely wrong predictions of a classification, in the form of the right."""
        if not self._classifies or not isinstance(predictions, Tensor):
            return None
        indices = labels.long()
        if predictions.ndim == labels.ndim + 1:
            classes = predictions.shape[1]
            other = (indices.clamp(min=0) + 1) % classes
            wrong = torch.nn.functional.one_hot(other, classes).movedim(-1, 1)
            return torch.as_tensor(wrong, dtype=predictions.dtype)
        classes = getattr(self.metric, "num_classes", None) or 2
        return torch.as_tensor((indices + 1) % classes, dtype=predictions.dtype)


def _normalised(predictions: Tensor, labels: Tensor, failed: Tensor | None) -> Tensor:
    """Make probabilities of logits where parts of a batch look like probabilities.

    Torchmetrics takes values outside of 0 to 1 for logits, update by update. Of the
    batch it would be right; of a few of its samples it may not be.
    """
    if not predictions.is_floating_point() or not predictions.numel():
        return predictions
    low, high = (
        predictions.flatten(1).aminmax(dim=1)
        if predictions.ndim > 1
        else (
            predictions,
            predictions,
        )
    )
    outside = (low < 0) | (high > 1)
    mixed = outside.any() & ~outside.all()
    if failed is None and not bool(mixed):
        return predictions
    if not bool(outside.any()):
        return predictions
    if predictions.ndim == labels.ndim + 1:
        return predictions.softmax(1)
    return predictions.sigmoid()


def working_copy(metric: Metric) -> Metric:
    """Copy a metric, empty, that keeps to this process and remembers no value."""
    copy = deepcopy(metric)
    copy.reset()
    # Outcomes are merged by the sweep: a metric must never sync on its own, nor must
    # one that it wraps.
    for part in copy.modules():
        if hasattr(part, "sync_on_compute"):
            setattr(part, "_to_sync", False)  # noqa: B010  # what `compute` looks at
            part.sync_on_compute = part.dist_sync_on_step = False  # type: ignore[assignment] # pyright: ignore
    copy.compute_with_cache = False
    return copy


def fed_length(predictions: Any, labels: Any, failed: Tensor | None) -> int:
    """Number of samples in what a step returned."""
    if failed is not None:
        return len(failed)
    for item in (labels, predictions):
        if isinstance(item, Tensor) and item.ndim:
            return len(item)
    # Of lists the items are samples, whatever is inside them.
    for item in (predictions, labels):
        if isinstance(item, (list, tuple)):
            return len(cast("list[Any]", item))
    return batch_length([predictions, labels])
