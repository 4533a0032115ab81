"""What is evaluated: models at usual sizes, and modules whose outputs are zeroed.

A residual branch is zeroed at the module that ends it, as in a loop that a user would
write: both sides do the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import Tensor, nn

BRANCHES: Mapping[str, tuple[str, ...]] = {
    "resnet18": ("layer*.*.bn2",),
    "resnet50": ("layer*.*.bn3",),
    "swin_tiny_patch4_window7_224": (
        "layers.*.blocks.*.drop_path1",
        "layers.*.blocks.*.drop_path2",
    ),
    "vit_small_patch16_224": ("blocks.*.ls1", "blocks.*.ls2"),
    "convnext_tiny": ("stages.*.blocks.*.drop_path",),
    "densenet121": ("features.denseblock*.denselayer*",),
}


@dataclass(frozen=True)
class Case:
    """One batch of one model.

    Attributes:
        model: A name of timm's, or `gpt2`.
        parts: `branches` or `leaves`.
        pixels: Side of the images; tokens of a text.
        batch: Samples.
    """

    model: str
    parts: str
    pixels: int
    batch: int

    @property
    def name(self) -> str:
        """What `--case` takes a part of."""
        return f"{self.model} {self.parts} {self.pixels} px b{self.batch}"

    def make(self) -> nn.Module:
        """The model, with no part that does nothing."""
        torch.manual_seed(0)
        model = _gpt2() if self.model == "gpt2" else _timm(self.model, self.pixels)
        for parameter in model.parameters():
            if parameter.ndim == 1:
                nn.init.uniform_(parameter, 0.5, 1.0)
        return model.eval()

    def inputs(self) -> Tensor:
        """One batch."""
        generator = torch.Generator().manual_seed(0)
        if self.model == "gpt2":
            return torch.randint(50257, (self.batch, self.pixels), generator=generator)
        shape = self.batch, 3, self.pixels, self.pixels
        return torch.randn(shape, generator=generator)

    def targets(self, model: nn.Module) -> list[str]:
        """The modules that are zeroed."""
        if self.model == "gpt2":
            return [f"transformer.h.*.{part}" for part in ("attn", "mlp")]
        if self.parts == "branches":
            return list(BRANCHES[self.model])
        return [
            name
            for name, module in model.named_modules()
            if not any(module.children()) and name
        ]


def _timm(name: str, pixels: int) -> nn.Module:
    options: dict[str, Any] = {}
    if pixels != 224 and name.startswith(("swin", "vit")):
        options["img_size"] = pixels
    return timm.create_model(name, num_classes=10, **options)


def _gpt2() -> nn.Module:
    import transformers

    config = transformers.GPT2Config(use_cache=False)
    return _Logits(transformers.GPT2LMHeadModel(config))


class _Logits(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.transformer = model.transformer
        self.lm_head = model.lm_head

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.transformer(input_ids=tokens).last_hidden_state
        logits: Tensor = self.lm_head(hidden[:, -1])
        return logits


CASES = (
    Case("resnet18", "leaves", 32, 8),
    Case("resnet18", "branches", 32, 8),
    Case("resnet18", "leaves", 32, 1),
    Case("resnet18", "branches", 224, 8),
    Case("resnet50", "branches", 224, 8),
    Case("swin_tiny_patch4_window7_224", "branches", 224, 8),
    Case("vit_small_patch16_224", "branches", 224, 8),
    Case("convnext_tiny", "branches", 224, 8),
    Case("densenet121", "branches", 224, 8),
    Case("gpt2", "branches", 128, 4),
)
