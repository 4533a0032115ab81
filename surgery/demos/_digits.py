"""Handwritten digits as tensors: real images that travel inside scikit-learn."""

from __future__ import annotations

from typing import Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Split = Literal["train", "validation", "test", "all"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test", "all")

# A fixed split, whatever the seed of a run: a checkpoint trained on "train" must
# never meet its own training images in somebody's "test".
_SPLIT_SEED = 0


def load_digits(
    split: Split = "test",
    *,
    size: tuple[int, int] = (32, 32),
    channels: int = 1,
    mean: float | tuple[float, ...] = 0.5,
    std: float | tuple[float, ...] = 0.5,
) -> tuple[Tensor, Tensor]:
    """Images `(n, channels, *size)` and labels `(n,)` of one split.

    The 1,797 images are split 60/15/25 into train, validation and test, with the
    ten digits in equal shares. Pixels are scaled to [0, 1], resized bilinearly,
    repeated over the channels, and normalised by `mean` and `std`.
    """
    from sklearn import datasets

    raw: Any = datasets.load_digits()
    chosen = _indices(raw.target, split)
    pixels = torch.from_numpy(raw.images[chosen]).float()[:, None] / 16
    images = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
    shift = torch.tensor(mean).reshape(-1, 1, 1)
    scale = torch.tensor(std).reshape(-1, 1, 1)
    images = (images.repeat(1, channels, 1, 1) - shift) / scale
    return images, torch.from_numpy(raw.target[chosen]).long()


def _indices(labels: NDArray[np.int64], split: Split) -> NDArray[np.int64]:
    from sklearn.model_selection import train_test_split

    everything = np.arange(len(labels))
    if split == "all":
        return everything
    fitting, test = train_test_split(
        everything, test_size=0.25, stratify=labels, random_state=_SPLIT_SEED
    )
    if split == "test":
        return cast("NDArray[np.int64]", np.sort(test))
    train, validation = train_test_split(
        fitting, test_size=0.2, stratify=labels[fitting], random_state=_SPLIT_SEED
    )
    return cast("NDArray[np.int64]", np.sort(train if split == "train" else validation))
