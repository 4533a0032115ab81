"""Whatever a user calls data becomes batches, loaded once per pass."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from surgery.data import Batches
from surgery.errors import DataError

X, Y = torch.arange(300.0).reshape(150, 2), torch.arange(150)


class Counting(Dataset[tuple[Tensor, Tensor]]):
    """Counts how often each sample is loaded."""

    def __init__(self) -> None:
        self.loaded: list[int] = []

    def __len__(self) -> int:
        return len(Y)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.loaded.append(index)
        return X[index], Y[index]


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(zip(X, Y, strict=True))


def generator() -> Iterator[tuple[Tensor, Tensor]]:
    yield from TensorPairs


TensorPairs = [(X[:100], Y[:100]), (X[100:], Y[100:])]


def everything(batches: Batches) -> tuple[Tensor, Tensor]:
    x, y = zip(*batches, strict=True)
    return torch.cat(x), torch.cat(y)


@pytest.mark.parametrize(
    ("data", "sizes", "samples", "known"),
    [
        (DataLoader(TensorDataset(X, Y), 40), [40, 40, 40, 30], 150, 4),
        (TensorDataset(X, Y), [64, 64, 22], 150, 3),
        (Stream(), [64, 64, 22], None, None),
        ((X, Y), [64, 64, 22], 150, 3),
        ((X.numpy(), Y.numpy()), [64, 64, 22], 150, 3),
        (TensorPairs, [100, 50], 150, 2),
        (generator(), [100, 50], None, None),
    ],
)
def test_every_kind_of_data_gives_the_same_samples(
    data: object, sizes: list[int], samples: int | None, known: int | None
) -> None:
    batches = Batches(data)
    assert (batches.samples, batches.batches) == (samples, known)
    seen = list(batches)
    assert [len(y) for _, y in seen] == sizes
    assert torch.equal(torch.cat([x for x, _ in seen]), X)
    assert torch.equal(torch.cat([y for _, y in seen]), Y)


def test_a_pass_loads_each_sample_once_and_only_when_asked() -> None:
    dataset = Counting()
    batches = Batches(dataset, batch_size=50)
    passing = iter(batches)
    assert dataset.loaded == []
    next(passing)
    assert dataset.loaded == list(range(50))
    assert len(list(passing)) == 2
    assert dataset.loaded == list(range(150))
    assert sum(len(y) for _, y in batches) == 150
    assert batches.passes_left == math.inf


def test_an_iterator_can_be_read_only_once() -> None:
    batches = Batches(generator())
    assert batches.passes_left == 1
    batches.require(1)
    with pytest.raises(DataError, match=r"2 passes over the data needed.*only once"):
        batches.require(2)
    assert len(list(batches)) == 2
    assert batches.passes_left == 0
    with pytest.raises(DataError, match="used up; pass a list of batches or a DataL"):
        list(batches)


def test_a_loader_that_drops_the_rest_has_fewer_samples() -> None:
    loader = DataLoader(TensorDataset(X, Y), 40, drop_last=True)
    batches = Batches(loader)
    assert batches.samples == 120 == sum(len(y) for _, y in batches)


def test_a_dataset_is_read_without_touching_the_global_generator() -> None:
    state = torch.get_rng_state()
    list(Batches(TensorDataset(X, Y)))
    assert torch.equal(torch.get_rng_state(), state)


def test_doubles_of_numpy_become_the_default_dtype_and_integers_stay() -> None:
    values = np.arange(6.0).reshape(3, 2)[:, ::-1]
    x, y = next(iter(Batches((values, np.arange(3)))))
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    assert x.tolist() == values.tolist()


def test_a_list_of_batches_of_unknown_form_counts_only_batches() -> None:
    batches = Batches([object(), object()])
    assert (batches.samples, batches.batches) == (None, 2)


@pytest.mark.parametrize(
    "empty", [[], iter([]), (torch.empty(0, 2), torch.empty(0)), Batches]
)
def test_data_without_a_batch_is_an_error(empty: Any) -> None:
    if empty is Batches:
        empty = DataLoader(TensorDataset(X[:0], Y[:0]))
    with pytest.raises(DataError, match="at least one sample"):
        list(Batches(empty))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (X, r"single tensor of shape \(150, 2\).*pair \(X, Y\)"),
        (X.numpy(), "single tensor"),
        ({"labels": Y}, r"single mapping.*\[batch\]"),
        (None, "data of type NoneType; give a DataLoader"),
        ("digits", "data of type str"),
        (7, "data of type int"),
        ((X, Y[:9]), "150 inputs but 9 labels"),
        ((X.numpy(), np.array(["a"] * 150)), "dtype <U1"),
    ],
)
def test_what_is_no_data_is_refused_with_what_is(data: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Batches(data)


def test_a_batch_size_below_one_is_refused() -> None:
    with pytest.raises(DataError, match="at least 1, got 0"):
        Batches((X, Y), batch_size=0)
