"""Formulas that look at no label, against those that do: the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from surgery.engine._checks import Checks
from surgery.engine._formulas import AbstractFormula, Correct, CrossEntropy, Distance
from surgery.errors import DataError

CLASSIFIED = [
    lambda: Correct("accuracy"),
    lambda: Correct("accuracy@2", 2),
    lambda: Correct("error_rate", wrong=True),
    lambda: CrossEntropy("cross_entropy"),
]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def whole(high: int, *shape: int) -> Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(1))


LAYOUTS: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
    "classes": lambda: (drawn(7, 5), whole(5, 7)),
    "binary": lambda: (drawn(7), whole(2, 7)),
    "binary column": lambda: (drawn(7, 1), whole(2, 7, 1)),
    "many labels": lambda: (drawn(7, 4), whole(2, 7, 4)),
    "segmentation": lambda: (drawn(7, 5, 3, 3), whole(5, 7, 3, 3)),
    "language": lambda: (drawn(7, 9, 5), whole(5, 7, 9)),
    "half precision": lambda: (drawn(7, 5).half(), whole(5, 7)),
}


def equal(one: tuple[Tensor, Tensor | None], other: tuple[Tensor, Any]) -> None:
    assert torch.equal(one[0], other[0])
    assert one[0].dtype == other[0].dtype
    if one[1] is None:  # which weights of samples that all count stand for
        assert other[1] is None or (other[1].dtype == torch.bool and other[1].all())
    else:
        assert torch.equal(one[1], other[1])
        assert one[1].dtype == other[1].dtype


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("make", CLASSIFIED)
def test_values_and_weights_are_the_same_bits(
    make: Callable[[], AbstractFormula], layout: str, ignored: bool
) -> None:
    outputs, labels = LAYOUTS[layout]()
    if ignored:
        labels.view(-1)[::3] = -100
    if layout == "binary column" and ignored:
        labels = labels[:, 0]
    checks = Checks()
    equal(make()(outputs, labels), make()(outputs, labels, checks))
    assert checks.ignored is not None
    assert bool(checks.ignored) is ignored
    assert checks.refused is not None
    assert not bool(checks.refused)


@pytest.mark.parametrize(
    "labels", [torch.tensor([0, 1, 9]), torch.tensor([0, -1, 2]), torch.eye(3).long()]
)
def test_labels_that_are_refused_are_refused_later(labels: Tensor) -> None:
    outputs = drawn(*labels.shape) if labels.ndim == 2 else drawn(3, 4)
    with pytest.raises(DataError):
        CrossEntropy("cross_entropy")(outputs, labels)
    checks = Checks()
    CrossEntropy("cross_entropy")(outputs, labels, checks)
    assert checks.refused is not None
    assert bool(checks.refused)


def test_a_regression_is_the_same_bits_and_refuses_later() -> None:
    formula, outputs, labels = Distance("mse", 2), drawn(7, 4), drawn(7, 4, seed=1)
    checks = Checks()
    equal(formula(outputs, labels), formula(outputs, labels, checks))
    assert not bool(checks.refused)
    labels[2, 1] = float("inf")
    formula(outputs, labels, checks)
    assert bool(checks.refused)


@pytest.mark.parametrize("make", [*CLASSIFIED, lambda: Distance("mae", 1)])
@pytest.mark.parametrize("rows", [1, 5, 8, 64])
def test_several_variants_in_one_go_are_the_same_bits(
    rows: int, make: Callable[[], AbstractFormula]
) -> None:
    many = [drawn(rows, 11, seed=i) for i in range(9)]
    labels = whole(11, rows)
    if isinstance(make(), Distance):
        many, labels = [x[:, 0] for x in many], drawn(rows, seed=20)
    joined, _ = make()(torch.cat(many), labels.repeat(9), Checks())
    apart = torch.cat([make()(x, labels)[0] for x in many])
    assert torch.equal(joined, apart)
