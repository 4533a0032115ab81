"""Classification and regression are told by shapes; labels are checked."""

import pytest
import torch
from torch import Tensor

from surgery.engine._layout import ClassificationLayout, RegressionLayout
from surgery.errors import DataError

A, B, C = 2, 3, 4


def ints(*shape: int, high: int = 2) -> Tensor:
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(0))


def floats(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("outputs", "labels", "binary", "logits"),
    [
        ((6,), (6,), True, (6, 1)),
        ((6, 1), (6,), True, (6, 1)),
        ((6,), (6, 1), True, (6, 1)),
        ((6, 1), (6, 1), True, (6, 1)),
        ((6, 4), (6, 4), True, (6, 4)),
        ((6, 1, 2, 2), (6, 2, 2), True, (6, 4)),
        ((6, 5), (6,), False, (6, 5, 1)),
        ((6, 5, 7), (6, 7), False, (6, 5, 7)),
        ((6, 5, 2, 4), (6, 2, 4), False, (6, 5, 8)),
        ((6, 7, 5), (6, 7), False, (6, 5, 7)),
        ((6, 2, 4, 5), (6, 2, 4), False, (6, 5, 8)),
    ],
)
def test_class_axis_is_told_by_the_shape_of_labels(
    outputs: tuple[int, ...],
    labels: tuple[int, ...],
    binary: bool,
    logits: tuple[int, ...],
) -> None:
    item = ClassificationLayout("accuracy")(floats(*outputs), ints(*labels))
    assert item.binary is binary
    assert tuple(item.logits.shape) == logits
    assert tuple(item.labels.shape) == (6, logits[-1])


def test_the_class_axis_is_moved_not_mixed_up() -> None:
    logits = floats(6, 7, 5)
    item = ClassificationLayout("accuracy")(logits, ints(6, 7, high=5))
    assert torch.equal(item.predictions(), logits.argmax(-1))
    maps = floats(6, 5, 2, 4)
    item = ClassificationLayout("accuracy")(maps, ints(6, 2, 4, high=5))
    assert torch.equal(item.predictions(), maps.argmax(1).flatten(1))


def test_where_two_readings_fit_classes_are_axis_one() -> None:
    logits = floats(6, 5, 5)
    item = ClassificationLayout("accuracy")(logits, ints(6, 5, high=5))
    assert torch.equal(item.predictions(), logits.argmax(1))


@pytest.mark.parametrize(
    ("outputs", "labels", "message"),
    [
        ((6, 5), (5,), r"labels of shape \(5,\).*shape \(6, 5\).*shape \(6,\) do"),
        ((6, 5), (6, 1), r"labels\.squeeze\(1\)"),
        ((6, 5, 2, 2), (6,), r"class indices of shape \(6, 2, 2\)"),
        ((6,), (5,), r"do not fit.*step="),
        ((6, 5), (), r"one output and label per sample"),
    ],
)
def test_labels_of_the_wrong_shape_are_refused(
    outputs: tuple[int, ...], labels: tuple[int, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        ClassificationLayout("accuracy")(floats(*outputs), ints(*labels))


@pytest.mark.parametrize("wrong", [-1, 5, -101])
def test_labels_out_of_range_are_refused(wrong: int) -> None:
    labels = torch.tensor([0, wrong, 4])
    with pytest.raises(DataError, match=r"accuracy: labels reach.*0 to 4"):
        ClassificationLayout("accuracy")(floats(3, 5), labels)


def test_integer_labels_that_look_one_hot_are_refused() -> None:
    labels = torch.nn.functional.one_hot(torch.arange(6) % 3)
    with pytest.raises(DataError, match=r"look one-hot.*labels\.argmax\(1\)"):
        ClassificationLayout("accuracy")(torch.randn(6, 3), labels)
    labels[0, 1] = 1  # several labels per sample: each entry is a decision
    assert ClassificationLayout("accuracy")(torch.randn(6, 3), labels).binary


def test_ignored_labels_are_not_out_of_range() -> None:
    item = ClassificationLayout("accuracy")(floats(3, 5), torch.tensor([0, -100, 4]))
    assert item.ignored and item.valid.flatten().tolist() == [True, False, True]
    item = ClassificationLayout("accuracy")(floats(1, 5), torch.tensor([-100]))
    assert item.ignored


def test_labels_are_checked_again_where_they_are_others() -> None:
    layout = ClassificationLayout("accuracy")
    labels = torch.tensor([0, 1, 2])
    layout(floats(3, 5), labels)
    with pytest.raises(DataError, match="2 classes"):
        layout(floats(3, 2), labels)
    with pytest.raises(DataError, match="reach"):
        layout(floats(3, 5), labels + 5)


def test_probabilities_are_labels_only_where_they_make_sense() -> None:
    logits = floats(6, 5)
    soft = logits.softmax(1)
    with pytest.raises(DataError, match=r"needs class indices.*labels\.argmax\(1\)"):
        ClassificationLayout("accuracy")(logits, soft)
    layout = ClassificationLayout("cross_entropy", soft=True)
    assert layout(logits, soft).soft
    assert layout(logits[:, :1], soft[:, 0]).binary
    with pytest.raises(DataError, match="do not fit"):
        layout(logits, soft[:, :4])
    with pytest.raises(DataError, match="do not fit"):
        layout(logits[:, :1], soft)


@pytest.mark.parametrize(
    ("outputs", "labels", "message"),
    [
        (ints(6, 5), ints(6), "needs logits.*int64"),
        (floats(6, 5), [0] * 6, "labels as a tensor, got labels as a list of 6"),
        (None, ints(6), "no floating point tensor"),
    ],
)
def test_what_is_no_classification_is_refused(
    outputs: object, labels: object, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        ClassificationLayout("accuracy")(outputs, labels)


@pytest.mark.parametrize(
    ("outputs", "labels", "width"),
    [
        ((6,), (6,), 1),
        ((6, 1), (6,), 1),
        ((6,), (6, 1), 1),
        ((6, 3), (6, 3), 3),
        ((6, 2, 2), (6, 2, 2), 4),
    ],
)
def test_regressions_become_tables(
    outputs: tuple[int, ...], labels: tuple[int, ...], width: int
) -> None:
    values, wanted = RegressionLayout("mse")(floats(*outputs), floats(*labels))
    assert values.shape == wanted.shape == (6, width)


def test_half_precision_is_scored_in_single_and_double_stays() -> None:
    layout = RegressionLayout("mse")
    assert layout(floats(6).half(), ints(6))[0].dtype == torch.float32
    assert layout(floats(6).double(), floats(6))[1].dtype == torch.float64
    logits = floats(6, 5).bfloat16()
    classes = ClassificationLayout("accuracy")(logits, ints(6))
    assert classes.logits.dtype == torch.float32


def test_regression_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match=r"mse: labels of shape \(6, 2\) do not fit"):
        RegressionLayout("mse")(floats(6), floats(6, 2))
    with pytest.raises(DataError, match="labels contain NaN"):
        RegressionLayout("mse")(floats(2), torch.tensor([1.0, float("nan")]))
