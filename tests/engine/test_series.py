"""Series keep what they were given, in as few bytes as it needs."""

import numpy as np
import pytest
import torch

from surgery.engine._series import Series, check_paired
from surgery.errors import DataError


def test_many_batches_come_back_in_order() -> None:
    series = Series()
    for start in range(0, 300, 3):
        series.append(torch.arange(start, start + 3))
        assert len(series) == start + 3
    assert series.numpy().tolist() == list(range(300))
    series.append(torch.tensor([7.0]))
    assert series.numpy().tolist() == [*range(300), 7]


@pytest.mark.parametrize(
    ("dtype", "size"),
    [
        (torch.bool, 1),
        (torch.float16, 4),
        (torch.bfloat16, 4),
        (torch.float32, 4),
        (torch.int64, 4),
        (torch.float64, 8),
    ],
)
def test_truths_take_one_byte_and_numbers_four(dtype: torch.dtype, size: int) -> None:
    series = Series()
    for _ in range(100):
        series.append(torch.ones(50, dtype=dtype))
    assert series.numpy().nbytes == 5000 * size
    assert series.nbytes <= 1.25 * 5000 * size


def test_a_column_of_a_large_tensor_does_not_keep_the_tensor() -> None:
    large = torch.zeros(10, 1000)
    series = Series()
    series.append(large[:, 0])
    large += 1
    assert series.numpy().tolist() == [0] * 10


def test_an_empty_series_is_empty() -> None:
    assert np.array_equal(Series().numpy(), np.empty(0))


def test_sides_of_unlike_length_are_refused() -> None:
    with pytest.raises(DataError, match=r"saw 3 samples, a variant 4"):
        check_paired("mse", 3, 4)
    with pytest.raises(DataError, match=r"no sample was measured"):
        check_paired("mse", 0, 0)


def test_on_the_cpu_all_batches_are_in_one_array() -> None:
    series = Series()
    for _ in range(100):
        series.append(torch.zeros(1000, 50)[:, 0])
    assert not series._pending
    assert np.shares_memory(series.numpy(), series._array)


def test_truths_become_numbers_when_numbers_follow() -> None:
    series = Series()
    series.append(torch.tensor([True, False]))
    series.append(torch.tensor([0.5]))
    assert series.numpy().tolist() == [1.0, 0.0, 0.5]
