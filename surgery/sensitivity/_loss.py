"""The loss: the metric whose gradient is taken, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from surgery.anatomy import tensors
from surgery.engine import (
    AbstractMetric,
    CallableMetric,
    PerSampleMetric,
    blamed,
    make_metrics,
)
from surgery.errors import DataError, OperationError

_MEND = (
    "name a surrogate that has one: surrogate='cross_entropy' for classes, 'mse' or "
    "'mae' for numbers, or a callable (outputs, labels) -> one value per sample"
)


@dataclass
class Loss:
    """A metric that is a mean over samples, with a gradient.

    Attributes:
        metric: What it is.
        inner: What a function that gives named values calls the one it gave.
    """

    metric: PerSampleMetric | CallableMetric
    inner: str = ""

    @property
    def name(self) -> str:
        """What it is called."""
        return self.metric.name

    @property
    def higher_is_better(self) -> bool:
        """Its direction."""
        return self.metric.direction(self.inner or self.metric.name)

    def __call__(
        self, outputs: Any, labels: Any, samples: int
    ) -> tuple[Tensor, Tensor]:
        """Values and weights of a batch, one per sample.

        Raises:
            OperationError: It has no gradient.
            DataError: It does not give a value per sample.
        """
        metric = self.metric
        with blamed(metric.name, outputs, labels):
            if isinstance(metric, PerSampleMetric):
                values, weights = metric.formula(outputs, labels)
            else:
                named = metric.named(metric.function(outputs, labels))
                if len(named) != 1:
                    raise DataError(
                        f"{metric.name} gives {', '.join(named)}: gradients are of one "
                        "loss; give a surrogate= that returns one of them"
                    )
                ((self.inner, value),) = named.items()
                values, weights = torch.as_tensor(value), None
        self._check(values, outputs, samples)
        if weights is None:
            weights = torch.ones_like(values)
        return values, weights.detach().to(values.dtype)

    def _check(self, values: Tensor, outputs: Any, samples: int) -> None:
        if tuple(values.shape) != (samples,):
            raise DataError(
                f"{self.name} gives the shape {tuple(values.shape)} for {samples} "
                "samples; gradients need one value per sample"
            )
        if values.requires_grad or not torch.is_grad_enabled():
            return
        if any(x.requires_grad for x in tensors(outputs)):
            raise without_gradient(self.name)
        raise OperationError(
            "no gradient goes from the model's output back to a component: the "
            "components do not take part in it, or the model detaches it (no_grad, "
            "inference_mode, argmax, numpy); measure them with surgery.rank"
        )


def without_gradient(name: str) -> OperationError:
    """What to raise for a metric that has none."""
    return OperationError(f"{name} has no gradient; {_MEND}")


def the_loss(metrics: Sequence[AbstractMetric], surrogate: object) -> Loss:
    """What the gradient is taken of: the one metric, or the surrogate in its place.

    Raises:
        OperationError: There is no such one.
    """
    metric = the_metric(metrics, surrogate)
    if not isinstance(metric, PerSampleMetric | CallableMetric):
        raise without_gradient(metric.name)
    if isinstance(metric, PerSampleMetric) and metric.transform is not None:
        raise OperationError(
            f"{metric.name} is a function of a mean, not a mean over samples; give a "
            "surrogate that is one: surrogate="
            f"{'cross_entropy' if metric.name == 'perplexity' else 'mse'!r}"
        )
    return Loss(metric)


def the_metric(metrics: Sequence[AbstractMetric], surrogate: object) -> AbstractMetric:
    """The one metric, or the surrogate in its place.

    Raises:
        OperationError: There are several.
    """
    direction = None if isinstance(surrogate, str) else False
    given = metrics if surrogate is None else make_metrics(surrogate, direction)
    if len(given) != 1:
        names = ", ".join(metric.name for metric in given)
        raise OperationError(
            f"a component has one score, but there are {names}; give one metric, or "
            "one surrogate="
        )
    return given[0]
