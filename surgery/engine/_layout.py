"""Layouts: which axis of the outputs are classes, and whether labels fit them."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from surgery.engine._checks import Checks
from surgery.engine._metric import describe
from surgery.engine._steps import main_output
from surgery.errors import DataError

IGNORED = -100
"""Label of positions that do not count, as in `torch.nn.CrossEntropyLoss`."""


@dataclass(frozen=True)
class Classified:
    """Outputs and labels of a classification, brought into one form.

    Attributes:
        logits: `(B, C, P)` for P positions per sample; `(B, P)` if binary.
        labels: `(B, P)` class indices, or `(B, C, P)` probabilities (binary:
            `(B, P)`).
        binary: Whether there is one logit, of class 1 against class 0.
        soft: Whether labels are probabilities.
        ignored: Whether any label is `IGNORED`; a tensor where nobody may look.
    """

    logits: Tensor
    labels: Tensor
    binary: bool
    soft: bool
    ignored: bool | Tensor

    @property
    def classes(self) -> int:
        return 2 if self.binary else self.logits.shape[1]

    @property
    def valid(self) -> Tensor:
        """`(B, P)`: positions that count."""
        return self.labels != IGNORED

    def predictions(self) -> Tensor:
        """`(B, P)` class indices."""
        return (self.logits > 0).long() if self.binary else self.logits.argmax(1)


@final
class ClassificationLayout:
    """Recognises classification from shapes, and checks labels once per batch.

    Class indices may come with

    - `(B,)` or `(B, 1)` logits of class 1, threshold 0, and labels `(B,)`, `(B, 1)`;
      more generally logits and labels of one shape, each entry its own decision;
    - `(B, C)` logits and labels `(B,)`;
    - `(B, C, ...)` logits and labels `(B, ...)`, as of segmentation; where both this
      and the next reading fit, this one holds, as in `torch.nn.CrossEntropyLoss`;
    - `(B, ..., C)` logits and labels `(B, ...)`, as of language models.

    Probabilities as labels have the shape of the logits.
    """

    def __init__(self, name: str, *, soft: bool = False) -> None:
        self.name = name
        self._soft = soft
        # Labels are checked when first seen; variants see the same tensor again.
        self._seen: weakref.ref[Tensor] | None = None
        self._seen_classes = 0
        self._seen_ignored = False

    def __call__(
        self, outputs: Any, labels: Any, checks: Checks | None = None
    ) -> Classified:
        logits = _tensors(self.name, outputs, labels)
        if not logits.is_floating_point():
            raise DataError(
                f"{self.name} needs logits, got outputs {describe(logits)}; give "
                "step=lambda model, batch: (logits, labels)"
            )
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        if labels.is_floating_point():
            return self._probabilities(logits, labels)
        binary, flat, indices = self._indices(logits, labels)
        classes = 2 if binary else flat.shape[1]
        if checks is not None:
            return self._unseen(flat, indices.long(), binary, labels, checks)
        ignored = self._check(labels, classes)
        return Classified(flat, indices.long(), binary, False, ignored)

    def _indices(self, logits: Tensor, labels: Tensor) -> tuple[bool, Tensor, Tensor]:
        batch, shape = len(logits), tuple(logits.shape)
        label_shape = tuple(labels.shape)
        single = _without_column(logits)
        if single.shape == _without_column(labels).shape:
            return True, single.reshape(batch, -1), labels.reshape(batch, -1)
        if logits.ndim < 2 or (batch and label_shape[:1] != (batch,)):
            raise self._misfit(logits, labels)
        if label_shape == (batch, *shape[2:]):
            flat = logits.reshape(batch, shape[1], -1)
        elif label_shape == shape[:-1]:
            flat = logits.reshape(batch, -1, shape[-1]).transpose(1, 2)
        else:
            raise self._misfit(logits, labels)
        if flat.shape[1] == 1:
            return True, flat[:, 0], labels.reshape(batch, -1)
        return False, flat, labels.reshape(batch, -1)

    def _probabilities(self, logits: Tensor, labels: Tensor) -> Classified:
        if not self._soft:
            raise DataError(
                f"{self.name} needs class indices as labels, got labels "
                f"{describe(labels)}; convert them with labels.long(), or "
                "labels.argmax(1) if they are one-hot"
            )
        batch = len(logits)
        labels = labels.to(logits.dtype)
        single = _without_column(logits)
        if logits.ndim == 1 or (logits.shape[1] == 1 and logits.ndim == 2):
            if single.shape != _without_column(labels).shape:
                raise self._misfit(logits, labels)
            flat = single.reshape(batch, -1)
            return Classified(flat, labels.reshape(batch, -1), True, True, False)
        if logits.shape != labels.shape:
            raise self._misfit(logits, labels)
        flat = logits.reshape(batch, logits.shape[1], -1)
        return Classified(flat, labels.reshape(flat.shape), False, True, False)

    def _unseen(
        self,
        logits: Tensor,
        indices: Tensor,
        binary: bool,
        labels: Tensor,
        checks: Checks,
    ) -> Classified:
        """The same without looking at a label: `checks` are told what is to be seen."""
        classes = 2 if binary else logits.shape[1]
        counts = indices != IGNORED
        possible = indices.clamp(0, classes - 1)
        checks.refuse((counts & (indices != possible)).any())
        if classes == 2 and _may_be_one_hot(labels):
            checks.refuse((labels.sum(1) == 1).all())
        ignored = (~counts).any()
        checks.ignored = ignored
        # Kernels on accelerators abort the process where a label is out of range.
        possible = torch.where(counts, possible, IGNORED)
        return Classified(logits, possible, binary, False, ignored)

    def _refuse_one_hot(self, labels: Tensor) -> None:
        # One decision per entry would score them, but mean something else.
        if not _may_be_one_hot(labels):
            return
        if bool((labels.sum(1) == 1).all()):
            raise DataError(
                f"{self.name}: labels {describe(labels)} look one-hot, one 1 per row; "
                "convert them with labels.argmax(1)"
            )

    def _check(self, labels: Tensor, classes: int) -> bool:
        """Whether any label is ignored; raises if one is out of range."""
        seen = self._seen() if self._seen is not None else None
        if seen is labels and self._seen_classes == classes:
            return self._seen_ignored
        if labels.numel():
            valid = labels.masked_select(labels != IGNORED)
            ignored = len(valid) < labels.numel()
            if len(valid):
                low, high = (int(bound) for bound in torch.aminmax(valid.long()))
                if low < 0 or high >= classes:
                    raise DataError(
                        f"{self.name}: labels reach from {low} to {high}, but the "
                        f"outputs have {classes} classes, 0 to {classes - 1}; fix the "
                        f"labels, or mark what is not to count as {IGNORED}"
                    )
            if classes == 2:
                self._refuse_one_hot(labels)
        else:
            ignored = False
        self._seen, self._seen_classes = weakref.ref(labels), classes
        self._seen_ignored = ignored
        return ignored

    def _misfit(self, logits: Tensor, labels: Tensor) -> DataError:
        shape = tuple(logits.shape)
        wanted = (shape[0], *shape[2:])
        hint = ""
        if logits.ndim == 2 and tuple(labels.shape) == (len(logits), 1):
            hint = ", here labels.squeeze(1)"
        return DataError(
            f"{self.name}: labels of shape {tuple(labels.shape)} do not fit outputs of "
            f"shape {shape}; class indices of shape {wanted} do"
            f"{hint}, or give step=lambda model, batch: (logits, labels)"
        )


@final
class RegressionLayout:
    """Brings outputs and labels of a regression to `(B, D)`, and checks them.

    Outputs `(B,)` and `(B, 1)` fit labels `(B,)` and `(B, 1)`; else shapes are equal.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._seen: weakref.ref[Tensor] | None = None

    def __call__(
        self, outputs: Any, labels: Any, checks: Checks | None = None
    ) -> tuple[Tensor, Tensor]:
        values = _tensors(self.name, outputs, labels)
        if _without_column(values).shape != _without_column(labels).shape:
            raise DataError(
                f"{self.name}: labels of shape {tuple(labels.shape)} do not fit "
                f"outputs of shape {tuple(values.shape)}; give labels of the same "
                "shape, or step=lambda model, batch: (predictions, labels)"
            )
        dtype = torch.float64 if values.dtype == torch.float64 else torch.float32
        flat = values.to(dtype).reshape(len(values), -1)
        wanted = labels.detach().to(dtype).reshape(len(values), -1)
        if checks is not None:
            checks.refuse(~torch.isfinite(wanted).all())
            return flat, wanted
        seen = self._seen() if self._seen is not None else None
        if seen is not labels:
            if not bool(torch.isfinite(wanted).all()):
                raise DataError(
                    f"{self.name}: labels contain NaN or infinity; leave those samples "
                    "out of the data"
                )
            self._seen = weakref.ref(labels)
        return flat, wanted


def _tensors(name: str, outputs: Any, labels: Any) -> Tensor:
    tensor = main_output(outputs)
    if not isinstance(labels, Tensor):
        raise DataError(
            f"{name} needs labels as a tensor, got labels {describe(labels)}; give "
            "step=lambda model, batch: (outputs, labels)"
        )
    if not tensor.ndim or not labels.ndim:
        raise DataError(
            f"{name} needs one output and label per sample, got outputs "
            f"{describe(tensor)} and labels {describe(labels)}"
        )
    return tensor


def _may_be_one_hot(labels: Tensor) -> bool:
    return labels.ndim == 2 and len(labels) > 1 and labels.shape[1] > 1


def _without_column(tensor: Tensor) -> Tensor:
    """`(B, 1)` as `(B,)`."""
    return tensor[:, 0] if tensor.ndim == 2 and tensor.shape[1] == 1 else tensor
