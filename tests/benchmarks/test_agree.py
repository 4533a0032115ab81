"""Agreement: bit for bit, or as near as stacking may come."""

from __future__ import annotations

import torch

from benchmarks.agree import OFF, compare, differences

LOGITS = torch.tensor([[1.0, 4.0, 2.0], [100.0, 0.0, 50.0]])


def test_equal_bits_are_told_apart_from_near_values() -> None:
    assert compare([LOGITS], [LOGITS.clone()]) == "bitwise"
    near = LOGITS * (1 + OFF / 4)
    assert compare([LOGITS], [near]) not in ("bitwise", "")
    assert not compare([LOGITS], [near]).startswith("no")


def test_a_difference_counts_of_the_largest_value_of_its_own_sample() -> None:
    off = LOGITS.clone()
    off[0, 0] += 4 * 2 * OFF
    assert differences(LOGITS, off)[0] > OFF
    off = LOGITS.clone()
    off[1, 0] += 4 * 2 * OFF  # in a sample of larger values it is little
    assert differences(LOGITS, off)[0] < OFF


def test_another_class_is_told_unless_the_top_two_are_as_good_as_equal() -> None:
    tie = torch.tensor([[1.0, 1.0 + OFF, 0.0]])
    assert differences(tie, tie.flip(1).roll(2, 1))[1] == 0
    clear = torch.tensor([[1.0, 2.0, 0.0]])
    assert differences(clear, torch.tensor([[2.0, 1.0, 0.0]]))[1] == 1


def test_missing_outputs_and_other_shapes_do_not_agree() -> None:
    assert compare([LOGITS], []).startswith("no")
    assert compare([LOGITS], [LOGITS[:1]]).startswith("no")


def test_nan_agrees_with_nan_only() -> None:
    nan = torch.full((1, 2), float("nan"))
    assert differences(nan, nan) == (0.0, 0)
    assert differences(nan, torch.ones(1, 2))[0] == float("inf")
