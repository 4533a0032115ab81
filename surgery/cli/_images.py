"""What images a model takes: its own configuration, or what its layers tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ImageFormat:
    """Shape and scale of the images that a model was, or is to be, trained on.

    Attributes:
        size: Height and width.
        mean: Subtracted per channel from pixels in [0, 1].
        std: Pixels are divided by it, per channel.
        crop: Share of the resized image that the centre crop keeps.
        interpolation: `"bilinear"`, `"bicubic"`, ...
    """

    channels: int
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: float = 1.0
    interpolation: str = "bilinear"

    def transform(self) -> Callable[[Any], Tensor]:
        """From a PIL image to the model's input, as in evaluation."""
        from timm.data.transforms_factory import create_transform
        from torchvision import transforms

        steps: Any = create_transform(
            input_size=(self.channels, *self.size),
            mean=self.mean,
            std=self.std,
            crop_pct=self.crop,
            interpolation=self.interpolation,
            is_training=False,
        )
        if self.channels == 1:
            steps = transforms.Compose([transforms.Grayscale(), steps])
        return _Transform(steps)


@dataclass(frozen=True)
class _Transform:
    steps: Any

    def __call__(self, image: Any) -> Tensor:
        tensor: Tensor = self.steps(image)
        return tensor


def image_format(model: nn.Module, side: int | None = None) -> ImageFormat | None:
    """What the model takes, at `side` pixels if given; `None` if it takes no images."""
    channels = _channels(model)
    if channels is None:
        return None
    config = _config(model)
    own: tuple[int, int] = config.get("size", (224, 224))
    return ImageFormat(
        channels=channels,
        size=(side, side) if side else own,
        mean=_per_channel(config.get("mean", (0.5,)), channels),
        std=_per_channel(config.get("std", (0.5,)), channels),
        crop=config.get("crop", 1.0),
        interpolation=config.get("interpolation", "bilinear"),
    )


def _config(model: nn.Module) -> dict[str, Any]:
    """The keys of `ImageFormat` that the model itself tells."""
    known: dict[str, Any] = {}
    if getattr(model, "pretrained_cfg", None):
        from timm.data.config import resolve_model_data_config

        data: dict[str, Any] = resolve_model_data_config(model)
        known = {
            "size": tuple(data["input_size"][1:]),
            "mean": tuple(data["mean"]),
            "std": tuple(data["std"]),
            "crop": data["crop_pct"],
            "interpolation": data["interpolation"],
        }
    elif type(model).__module__.startswith("torchvision."):
        known = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "crop": 0.875}
    # What a patch embedding was built for overrides what the weights were made for.
    size = getattr(getattr(model, "patch_embed", None), "img_size", None)
    size = size or getattr(getattr(model, "config", None), "image_size", None)
    if isinstance(size, int):
        known["size"] = (size, size)
    elif isinstance(size, tuple | list):
        known["size"] = tuple(size)
    return known


def _channels(model: nn.Module) -> int | None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels
    return None


def _per_channel(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    if len(values) == channels:
        return values
    return (round(sum(values) / len(values), 6),) * channels
