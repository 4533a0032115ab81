"""The digits: what they are, and that no split meets another."""

import pytest
import torch

from surgery.demos import Split, load_digits


def test_the_splits_share_no_image_and_together_are_all() -> None:
    sets: dict[Split, set[bytes]] = {}
    splits: tuple[Split, ...] = ("train", "validation", "test", "all")
    for split in splits:
        images, labels = load_digits(split, size=(8, 8))
        assert len(images) == len(labels)
        sets[split] = {image.numpy().tobytes() for image in images}
    sizes = [len(load_digits(split)[1]) for split in splits]
    assert sizes == [1077, 270, 450, 1797]
    assert sets["train"] | sets["validation"] | sets["test"] == sets["all"]
    assert not sets["train"] & sets["test"]
    assert not sets["validation"] & (sets["train"] | sets["test"])


def test_every_split_has_the_ten_digits_in_equal_shares() -> None:
    for split, expected in (("train", 108), ("validation", 27), ("test", 45)):
        _, labels = load_digits(split)  # type: ignore[arg-type]
        counts = torch.bincount(labels)
        assert len(counts) == 10
        assert (counts - expected).abs().max() <= 3


def test_pixels_are_scaled_resized_and_normalised() -> None:
    plain, _ = load_digits("test", size=(8, 8), mean=0.0, std=1.0)
    assert plain.shape == (450, 1, 8, 8)
    assert plain.min() == 0 and plain.max() == 1
    shifted, _ = load_digits(
        "test", size=(8, 8), channels=3, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0)
    )
    for channel, (mean, std) in enumerate(((0.1, 1.0), (0.2, 2.0), (0.3, 4.0))):
        torch.testing.assert_close(shifted[:, channel], (plain[:, 0] - mean) / std)


@pytest.mark.parametrize("size", [(16, 16), (32, 24)])
def test_any_size_can_be_had(size: tuple[int, int]) -> None:
    images, _ = load_digits("validation", size=size)
    assert images.shape == (270, 1, *size)
