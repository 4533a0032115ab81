"""Image models of timm, at the smallest size they run on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.conformance.zoo.choose import chosen
from benchmarks.conformance.zoo.specimen import Case, Specimen

CLASSES = 10
SIZES = (28, 32, 42, 56, 64, 75, 84, 96, 112, 128, 160, 192, 224, 240, 256, 288)
FILE = Path(__file__).with_name("sizes.txt")

# The residual adds of these are counted against the known number as well. Windows of
# 4 on a grid of 16: the first two stages of Swin really shift.
COUNTED: Mapping[str, Mapping[str, Any]] = {
    "resnet50": {},
    "swin_tiny_patch4_window7_224": {"img_size": 64, "window_size": 4},
    "vit_tiny_patch16_224": {"img_size": 32},
    "eva02_tiny_patch14_224": {"img_size": 28},
}


@dataclass(frozen=True)
class Image:
    """A timm model on two square images."""

    name: str
    size: int
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __call__(self) -> Specimen:
        from timm import create_model

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model: nn.Module = create_model(
                self.name, num_classes=CLASSES, **self.options
            )
        images = torch.randn(2, 3, self.size, self.size)
        words = f"2 x 3 x {self.size} x {self.size}"
        return Specimen(model, (images,), {}, words)


def families() -> Iterator[Case]:
    """The smallest model of every family of timm, and those whose adds are counted."""
    sizes = known_sizes()
    for family, name in chosen().items():
        size, resized = sizes[name]
        options = COUNTED.get(name, {"img_size": size} if resized else {})
        size = options.get("img_size", size)
        yield Case(f"timm.{name}", family, "timm", Image(name, size, options))
    for name, given in COUNTED.items():
        if name not in chosen().values():
            image = Image(name, given.get("img_size", 32), given)
            yield Case(f"timm.{name}", name, "timm, adds counted", image)


def known_sizes() -> dict[str, tuple[int, bool]]:
    """By name: the size to run at, and whether the constructor must be told it."""
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return {
        name: (int(size), told == "told") for name, size, told in map(str.split, lines)
    }


def smallest_size(name: str) -> tuple[int, bool]:
    """The smallest size that a model runs on, told or untold; found by trying."""
    own = Image(name, 0)().model
    fixed = int(own.pretrained_cfg["input_size"][-1])  # type: ignore[index]
    for size in sorted({*(s for s in SIZES if s < fixed), fixed}):
        for told in (False, True):
            try:
                specimen = Image(name, size, {"img_size": size} if told else {})()
                with torch.no_grad():
                    specimen.model.eval()(*specimen.args)
            except Exception:  # whatever it is, it does not run on this size
                continue
            return size, told
    raise RuntimeError(f"{name} runs on no size")


def main() -> None:
    """Try out the smallest sizes anew, and write `sizes.txt`."""
    lines: list[str] = []
    for name in chosen().values():
        size, told = smallest_size(name)
        lines.append(f"{name} {size} {'told' if told else 'untold'}")
        print(lines[-1], flush=True)
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
