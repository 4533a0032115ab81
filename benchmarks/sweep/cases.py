"""What is ranked: real models at their usual sizes, on images that must be loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset


@dataclass(frozen=True)
class Case:
    """One ranking to time.

    Attributes:
        name: What `--case` takes.
        make: Builds the model.
        targets: What is ranked.
        pixels: Side of the images.
        images: How many there are.
        batch_size: Of the loader.
    """

    name: str
    make: Callable[[], nn.Module]
    targets: str
    pixels: int
    images: int
    batch_size: int


CASES = (
    Case(
        "resnet18",
        lambda: timm.create_model("resnet18", num_classes=10),
        "layer*.*",
        32,
        256,
        8,
    ),
    Case(
        "swin_tiny",
        lambda: timm.create_model("swin_tiny_patch4_window7_224", num_classes=10),
        "layers.*.blocks.*",
        224,
        16,
        8,
    ),
)


class Encoded(Dataset[tuple[Tensor, int]]):
    """Images as JPEG bytes in memory: loading one decodes it, as from a folder."""

    def __init__(self, images: int, pixels: int, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self._files: list[bytes] = []
        for _ in range(images):
            coarse = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            image = Image.fromarray(coarse).resize((pixels, pixels))
            buffer = BytesIO()
            image.save(buffer, format="JPEG")
            self._files.append(buffer.getvalue())
        self._labels = generator.integers(0, 10, images).tolist()

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = np.array(Image.open(BytesIO(self._files[index])), dtype=np.float32)
        return torch.from_numpy(image / 255).permute(2, 0, 1), self._labels[index]
