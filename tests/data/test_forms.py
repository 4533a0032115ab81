"""Batches taken apart into tensors and a form, and put together again."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from surgery.data import taken_apart
from surgery.errors import DataError


class Pair(NamedTuple):
    x: Any
    y: Any


X, Y = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
BATCHES: list[Any] = [
    (X, Y),
    [X, Y],
    Pair(X, {"a": Y, "n": 3}),
    {"x": X, "labels": Y, "name": "validation", "none": None},
    OrderedDict(x=[X, (X, Y)], labels=Y),
]


@pytest.mark.parametrize("batch", BATCHES, ids=lambda b: type(b).__name__)
def test_a_batch_is_put_together_as_it_was(batch: Any) -> None:
    parts, form = taken_apart(batch)
    again = form.filled(parts)
    assert type(again) is type(batch)
    assert repr(again) == repr(batch)
    assert taken_apart(again)[1] == form
    assert hash(taken_apart(again)[1]) == hash(form)


def test_other_values_have_the_same_form() -> None:
    assert taken_apart((X, Y))[1] == taken_apart((X + 1, Y.flip(0)))[1]


@pytest.mark.parametrize(
    "other",
    [
        (X[:2], Y[:2]),
        (X.double(), Y),
        [X, Y],
        (X, Y, 1),
        (X, {"labels": Y}),
    ],
    ids=["fewer", "of another type", "in a list", "with a number", "in a mapping"],
)
def test_what_a_program_depends_on_is_in_the_form(other: Any) -> None:
    assert taken_apart((X, Y))[1] != taken_apart(other)[1]


def test_plain_values_of_unlike_types_are_not_the_same() -> None:
    forms = {taken_apart({"x": X, "flag": flag})[1] for flag in (1, 1.0, True, "1")}
    assert len(forms) == 4


def test_arrays_count_as_tensors() -> None:
    parts, form = taken_apart((np.zeros((4, 3)), np.arange(4)))
    assert [type(x) for x in parts] == [torch.Tensor, torch.Tensor]
    assert form.dtypes == (torch.float32, torch.int64)


def test_a_smaller_batch_of_a_form_is_known() -> None:
    scale = torch.ones(3)
    whole, part = taken_apart((X, scale, Y))[1], taken_apart((X[:2], scale, Y[:2]))[1]
    assert whole.shortened(4, 2) == part


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(DataError, match="a batch holds a object"):
        taken_apart((X, object()))
