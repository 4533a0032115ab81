"""What the demo trains: two small models, the way they are trained, their targets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

from torch import nn

from surgery.errors import SurgeryError


@dataclass(frozen=True)
class Recipe:
    """One model of the demo and how it is trained.

    Attributes:
        name: The model's name, in tables and file names.
        title: What a reader should know of it, in a few words.
        build: Makes the untrained model.
        size: Side of its square input, in pixels.
        targets: What the demo ranks.
        epochs: Number of passes over the training split.
        lr: Peak learning rate of the one-cycle schedule.
        shift: Training images are rolled by up to so many pixels.
        mean: Subtracted from the pixels, which are in [0, 1].
        std: The pixels are divided by this.
    """

    name: str
    title: str
    build: Callable[[], nn.Module]
    size: int
    targets: tuple[str, ...]
    epochs: int
    lr: float
    shift: int
    mean: float
    std: float
    batch_size: int = 64
    weight_decay: float = 0.02

    def fingerprint(self) -> str:
        """Changes whenever weights trained by an older recipe no longer count."""
        plain = {**asdict(self), "build": self.build.__qualname__}
        text = json.dumps(plain, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def build_resnet() -> nn.Module:
    """timm's ResNet-18, a quarter as wide: two blocks in each of four stages."""
    import timm

    model: nn.Module = timm.create_model(
        "resnet18", channels=(16, 32, 64, 128), in_chans=1, num_classes=10
    )
    return model


def build_swin() -> nn.Module:
    """A small Swin whose second block really has shifted windows."""
    from timm.models.swin_transformer import SwinTransformer

    model = SwinTransformer(
        img_size=16,
        patch_size=4,
        window_size=2,
        embed_dim=32,
        depths=(2, 2, 2),
        num_heads=(2, 4, 8),
        in_chans=1,
        num_classes=10,
    )
    # timm drops the shift without a word where the grid is no larger than the window.
    shifts = [getattr(m, "shift_size", (0,)) for m in model.modules()]
    if not any(max(_pair(shift)) > 0 for shift in shifts):
        raise SurgeryError(
            "the demo's Swin has no block with shifted windows: this version of timm "
            "builds it differently; please report it with the version of timm"
        )
    return model


def _pair(shift: int | tuple[int, ...]) -> tuple[int, ...]:
    return (shift,) if isinstance(shift, int) else tuple(shift)


RESNET = Recipe(
    name="resnet",
    title="narrow ResNet-18, 32 px",
    build=build_resnet,
    size=32,
    targets=("layer*", "layer*.*"),
    epochs=20,
    lr=5e-3,
    shift=3,
    mean=0.449,  # the channel averages of what timm's configuration of it says
    std=0.226,
)
SWIN = Recipe(
    name="swin",
    title="Swin with shifted windows, 16 px",
    build=build_swin,
    size=16,
    targets=("layers.*", "layers.*.blocks.*"),
    epochs=20,
    lr=1e-3,
    shift=1,
    mean=0.5,
    std=0.5,
)
