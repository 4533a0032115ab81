"""Data of every form really lacks what is left out, and is otherwise the same."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from surgery.errors import StudyError
from surgery.study.columns import Removed, feature_names, lacking

Splits = namedtuple("Splits", "train test")


@dataclass
class Holder:
    frame: pd.DataFrame
    name: str = "kept"


class Images(Dataset[Any]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        if index >= 4:
            raise IndexError(index)
        return torch.full((3, 2, 2), float(index)), index


class Stream(IterableDataset[Any]):
    """Samples that can only be iterated, in an order that is drawn."""

    def __iter__(self) -> Iterator[Any]:
        for index in torch.randperm(4).tolist():
            yield torch.full((3, 2, 2), float(index)), index


def frame() -> pd.DataFrame:
    columns = {"age": [1.0, 2.0, 6.0], "sex": ["m", "f", "f"], "y": [0, 1, 1]}
    return pd.DataFrame(columns)


def test_frames_lose_columns_wherever_they_are() -> None:
    source = frame()
    data = {"train": source, "more": [Holder(frame())], "labels": np.arange(3)}
    removed = Removed(("age",))
    got: Any = lacking(data, removed)
    assert removed.found == {"age"}
    assert list(got["train"]) == ["sex", "y"]
    assert list(got["more"][0].frame) == ["sex", "y"]
    assert list(source) == ["age", "sex", "y"]  # the data given is as it was
    assert {"age", "sex", "y"} <= set(feature_names(data))


def test_mappings_lose_keys() -> None:
    batch = {"ids": torch.ones(2, 3), "mask": torch.ones(2, 3)}
    assert set(lacking(batch, Removed(("mask",)))) == {"ids"}
    zero = lacking(batch, Removed(("mask",), "zero"))
    assert zero["mask"].sum() == 0 and batch["mask"].sum() == 6


def test_arrays_lose_columns_and_channels_and_labels_stay() -> None:
    x, y = torch.arange(24.0).reshape(4, 6), torch.arange(4)
    got = lacking(Splits((x, y), (x, y)), Removed(("feature#0", "feature#5")))
    assert type(got) is Splits
    torch.testing.assert_close(got.train[0], x[:, 1:5])
    assert got.test[1] is y
    many = torch.arange(24.0).reshape(4, 6), torch.zeros(4, 3)
    assert lacking(many, Removed(("feature#1",)))[1].shape == (4, 3)
    images = np.zeros((2, 3, 5, 5)), np.zeros(2)
    assert lacking(images, Removed(("channel#1",)))[0].shape == (2, 2, 5, 5)


def test_loaders_and_datasets_give_samples_without_the_feature() -> None:
    x, y = torch.arange(24.0).reshape(4, 6), torch.arange(4)
    loader = DataLoader(TensorDataset(x, y), batch_size=2)
    removed = Removed(("feature#0",))
    got = torch.cat([a for a, _ in lacking(loader, removed)])
    torch.testing.assert_close(got, x[:, 1:])
    torch.testing.assert_close(torch.cat([a for a, _ in loader]), x)
    assert removed.found == {"feature#0"}
    removed = Removed(("channel#0",))
    images = lacking(Images(), removed)
    assert images[2][0].shape == (2, 2, 2) and len(images) == 4
    assert removed.found == {"channel#0"}
    unknown = Removed(("channel#7",))
    lacking(DataLoader(Images()), unknown)
    assert unknown.found == set()


def test_streams_give_samples_without_the_feature_and_draw_as_before() -> None:
    for wrapped in (Stream(), DataLoader(Stream(), batch_size=2)):
        torch.manual_seed(0)
        whole = [labels for _, labels in wrapped]
        torch.manual_seed(0)
        removed = Removed(("channel#0",))
        got = lacking(wrapped, removed)
        assert removed.found == {"channel#0"}
        samples = list(got)
        assert all(x.shape[-3:] == (2, 2, 2) for x, _ in samples)
        assert str([labels for _, labels in samples]) == str(whole)


def test_neutral_features_stay_and_tell_nothing() -> None:
    def one(name: str, how: str) -> Any:
        return lacking(frame(), Removed((name,), how))[name].tolist()

    assert one("age", "zero") == [0, 0, 0]
    assert one("age", "mean") == [3, 3, 3]
    assert one("sex", "mean") == ["f", "f", "f"]
    assert sorted(one("age", "shuffle")) == [1, 2, 6]
    with pytest.raises(StudyError, match="has no zero"):
        one("sex", "zero")
    splits = {"a": (torch.ones(2, 2), torch.zeros(2)), "b": (torch.zeros(2, 2), None)}
    got = lacking(splits, Removed(("feature#0",), "mean"))
    # The first split's mean for both: its own would tell them apart.
    assert got["a"][0][:, 0].tolist() == got["b"][0][:, 0].tolist() == [1, 1]
