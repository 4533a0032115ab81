"""Packed counts come back exactly and take little."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from surgery.engine._packing import pack


@given(
    st.lists(
        st.sampled_from([0, 0, 0, 0, 1, -5, 127, 128, 40_000, 2**31, 2**40]),
        min_size=1,
        max_size=200,
    )
)
def test_integers_come_back_exactly(values: list[int]) -> None:
    tensor = torch.tensor(values)
    back = pack(tensor).unpack()
    assert back.dtype == torch.int64 and torch.equal(back, tensor)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
def test_floats_are_kept_as_they_are(dtype: torch.dtype) -> None:
    tensor = torch.linspace(0, 1, 100).to(dtype).reshape(4, 25)
    packed = pack(tensor)
    assert torch.equal(packed.unpack(), tensor) and packed.nbytes == tensor.nbytes


def test_a_packed_tensor_does_not_follow_the_original() -> None:
    for tensor in (torch.zeros(3), torch.zeros(3, dtype=torch.long)):
        packed = pack(tensor)
        tensor += 1
        assert packed.unpack().sum() == 0


def test_a_confusion_matrix_of_few_samples_takes_a_few_bytes_each() -> None:
    matrix = torch.zeros(1000, 1000, dtype=torch.long)
    matrix[torch.arange(250), torch.arange(250)] = 1
    packed = pack(matrix)
    assert packed.nbytes == 250 * 5
    assert torch.equal(packed.unpack(), matrix)


def test_small_counts_take_a_byte() -> None:
    counts = torch.arange(100)
    assert pack(counts).nbytes <= 100
