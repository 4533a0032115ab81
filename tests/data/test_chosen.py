"""Chosen batches: in their places, and loaded alone where that can be done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from surgery.data import Batches, sketch
from surgery.errors import DataError

X, Y = torch.arange(35.0).reshape(35, 1), torch.arange(35)


def loader(**options: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(X, Y), batch_size=8, **options)


SOURCES: dict[str, Callable[[], Any]] = {
    "loader": loader,
    "workers": lambda: loader(num_workers=2),
    "shuffled": lambda: loader(shuffle=True, generator=torch.Generator()),
    "list": lambda: list(loader()),
    "iterator": lambda: iter(list(loader())),
}


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("source", SOURCES)
def test_each_batch_is_chosen_once_in_its_place(source: str, world: int) -> None:
    expected = list(SOURCES[source]())
    digests = set()
    for rank in range(world):
        batches = Batches(SOURCES[source]())
        batches.wanted = lambda number, rank=rank: number % world == rank
        found = list(batches)
        digests.add(batches.digest)
        assert len(found) == len(expected)
        for number, (batch, right) in enumerate(zip(found, expected, strict=True)):
            if number % world != rank:
                assert batch is None
            elif source != "shuffled":
                assert torch.equal(batch[1], right[1])
    assert len(digests) == 1


def test_the_digest_tells_another_order() -> None:
    digests = set()
    for seed in (0, 1):
        generator = torch.Generator().manual_seed(seed)
        batches = Batches(loader(shuffle=True, generator=generator))
        batches.wanted = lambda number: number == 0
        list(batches)
        digests.add(batches.digest)
    assert len(digests) == 2


def test_data_without_a_batch_is_refused_as_ever() -> None:
    batches = Batches([])
    batches.wanted = lambda number: False
    with pytest.raises(DataError, match="no batch"):
        list(batches)


def test_a_loader_that_deals_out_samples_is_refused() -> None:
    data = TensorDataset(X, Y)
    sampler: Any = DistributedSampler(data, num_replicas=2, rank=0)
    batches = Batches(DataLoader(data, sampler=sampler))
    batches.wanted = lambda number: True
    with pytest.raises(DataError, match="DistributedSampler"):
        list(batches)


def test_a_sketch_tells_shapes_values_and_keys_apart() -> None:
    items = [X, X[:-1], X + 1, Y, {"a": X}, {"b": X}, [X, Y], "a", X.numpy(), None]
    assert len({sketch(item) for item in items}) == len(items)
    assert sketch([X.clone(), "a"]) == sketch([X, "a"])
