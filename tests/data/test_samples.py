"""Batches of every structure: length, slices, masks, devices."""

from collections import UserDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from surgery.data import (
    batch_length,
    keep_samples,
    slice_batch,
    take,
    to_device,
)
from surgery.errors import DataError

X, Y = torch.arange(12.0).reshape(6, 2), torch.arange(6)


class Point(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


@dataclass
class Output(dict[str, Any]):
    """As Hugging Face's ModelOutput: a mapping that is a dataclass."""

    logits: torch.Tensor
    loss: torch.Tensor | None = None

    def __post_init__(self) -> None:
        self.update(logits=self.logits, loss=self.loss)


def detection(n: int, channels: int = 3) -> tuple[Any, Any]:
    """As torchvision's detectors take it: images of unlike sizes and annotations."""
    images = tuple(torch.full((channels, 4 + i, 5), float(i)) for i in range(n))
    labels = tuple({"boxes": torch.full((n, 4), float(i))} for i in range(n))
    return images, labels


@pytest.mark.parametrize(
    ("batch", "length"),
    [
        ((X, Y), 6),
        ([X, Y], 6),
        (((X, X), Y), 6),
        ({"input_ids": X, "scale": 3, "labels": Y}, 6),
        (UserDict({"x": X}), 6),
        ((X.numpy(), Y.numpy()), 6),
        ((X[:2], Y[:2]), 2),
        (X, 6),
        (detection(4), 4),
        (detection(3), 3),
        (detection(2), 2),
        ([{"boxes": torch.zeros(9, 4)}] * 5, 5),
        ((X, None), 6),
        (["a", "b", "c"], 3),
    ],
)
def test_samples_are_counted(batch: Any, length: int) -> None:
    assert batch_length(batch) == length


@pytest.mark.parametrize("batch", [None, 3, [], {}, torch.tensor(1.0), {"a": None}])
def test_a_batch_without_samples_to_count_is_an_error(batch: Any) -> None:
    with pytest.raises(DataError, match="cannot tell how many samples"):
        batch_length(batch)


@given(st.integers(1, 6), st.integers(0, 6), st.integers(0, 6))
def test_a_slice_of_a_batch_slices_every_tensor(n: int, a: int, b: int) -> None:
    start, stop = sorted((min(a, n), min(b, n)))
    batch = {
        "pair": (X[:n], Y[:n]),
        "point": Point(X[:n], Y[:n]),
        "labels": Y[:n],
        "texts": ["abcdef"[i] for i in range(n)],
        "scale": 2.0,
        "shared": torch.zeros(7, 3),
    }
    part = slice_batch(batch, start, stop)
    assert torch.equal(part["pair"][0], X[start:stop])
    assert isinstance(part["point"], Point)
    assert torch.equal(part["point"].y, Y[start:stop])
    assert part["texts"] == list("abcdef"[start:stop])
    assert part["scale"] == 2.0
    assert part["shared"].shape == (7, 3)


def test_a_pair_of_two_samples_is_not_two_samples() -> None:
    for batch in ((X[:2], Y[:2]), [X[:2], Y[:2]]):
        x, y = slice_batch(batch, 1, 2)
        assert torch.equal(x, X[1:2]) and torch.equal(y, Y[1:2])


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_images_and_annotations_are_sliced_by_item(n: int) -> None:
    images, labels = slice_batch(detection(n), n - 1, n)
    assert len(images) == len(labels) == 1
    assert images[0].shape == (3, 3 + n, 5)
    assert torch.equal(labels[0]["boxes"], torch.full((n, 4), n - 1.0))


def test_a_mask_keeps_samples_of_outputs_of_every_structure() -> None:
    mask = torch.tensor([True, False, True, True, False, True])
    rows = [0, 2, 3, 5]
    assert torch.equal(keep_samples(X, mask), X[rows])
    assert keep_samples(X.numpy(), mask).tolist() == X[rows].tolist()
    output = keep_samples(Output(X), mask)
    assert isinstance(output, Output)
    assert torch.equal(output.logits, X[rows]) and output.loss is None
    boxes = [{"boxes": torch.full((6, 4), float(i))} for i in range(6)]
    kept = keep_samples(boxes, mask)
    assert [int(item["boxes"][0, 0]) for item in kept] == rows
    assert kept[0]["boxes"].shape == (6, 4)
    texts = [["a"], ["b"], ["c"], ["d"], ["e"], ["f"]]
    assert keep_samples(texts, mask) == [["a"], ["c"], ["d"], ["f"]]
    assert keep_samples(None, mask) is None


def test_a_mask_of_none_keeps_the_shape_of_the_rest() -> None:
    nothing = torch.zeros(6, dtype=torch.bool)
    assert keep_samples(X, nothing).shape == (0, 2)
    assert keep_samples(list("abcdef"), nothing) == []


def test_outputs_of_two_heads_are_not_two_samples() -> None:
    kept = keep_samples([X[:2], X[:2]], torch.tensor([False, True]))
    assert [item.tolist() for item in kept] == [[[2, 3]], [[2, 3]]]


def test_take_slices_a_list_of_texts() -> None:
    assert take([["a"], ["b"], ["c"]], 3, 1, 3) == [["b"], ["c"]]


def test_moving_keeps_structure_and_turns_arrays_into_tensors() -> None:
    batch = {
        "x": [X, np.ones((2, 2))],
        "point": Point(X, Y),
        "names": np.array(["a"]),
        "output": Output(X),
        "text": "keep",
    }
    moved = to_device(batch, "meta")
    assert moved["x"][0].device.type == "meta"
    assert moved["x"][1].dtype == torch.float32
    assert isinstance(moved["point"], Point)
    assert moved["point"].y.device.type == "meta"
    assert moved["output"].logits.device.type == "meta"
    assert moved["names"] is batch["names"]
    assert moved["text"] == "keep"


def test_moving_asks_objects_that_can_move_themselves() -> None:
    class Ragged:
        device = "cpu"

        def to(self, device: str) -> "Ragged":
            other = Ragged()
            other.device = device
            return other

    assert to_device((Ragged(), Y), "meta")[0].device == "meta"


@pytest.mark.parametrize(("device", "waits"), [("cpu", True), ("meta", False)])
def test_copies_to_the_cpu_are_waited_for(device: str, waits: bool) -> None:
    asked: list[bool] = []

    class Spy(torch.Tensor):
        def to(self, *args: Any, **kwargs: Any) -> Any:
            asked.append(kwargs["non_blocking"])
            return self

    to_device((Spy(), [Spy()]), torch.device(device))
    to_device(Spy(), device)
    assert asked == [not waits] * 3
