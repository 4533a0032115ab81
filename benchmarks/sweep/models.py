"""The models, at their usual sizes, with weights under which no part does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.sweep.config import Case

CLASSES = 10
TIMM: Mapping[str, str] = {
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "swin_t": "swin_tiny_patch4_window7_224",
    "vit_s": "vit_small_patch16_224",
    "convnext_t": "convnext_tiny",
    "densenet121": "densenet121",
    "tiny": "test_resnet",
}
"""Models of timm by our names; `tiny` is for tests. `gpt2` is of transformers."""


def make_model(case: Case, device: str = "cpu") -> nn.Module:
    """The model of a case, the same every time."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = _gpt2() if case.model == "gpt2" else _timm(case.model, case.pixels)
        for parameter in model.parameters():
            # Zero-initialised scales would make whole branches vanish.
            if parameter.ndim == 1:
                nn.init.uniform_(parameter, 0.5, 1.0)
    return model.eval().to(device)


def make_inputs(case: Case, device: str = "cpu") -> Tensor:
    """One batch, the same every time."""
    generator = torch.Generator().manual_seed(0)
    if case.model == "gpt2":
        shape: tuple[int, ...] = (case.batch, case.pixels)
        return torch.randint(50257, shape, generator=generator).to(device)
    shape = case.batch, 3, case.pixels, case.pixels
    return torch.randn(shape, generator=generator).to(device)


def _timm(name: str, pixels: int) -> nn.Module:
    import timm

    options: dict[str, Any] = {"num_classes": CLASSES}
    if pixels != 224 and name in ("swin_t", "vit_s"):
        options["img_size"] = pixels
    model: nn.Module = timm.create_model(TIMM[name], **options)
    return model


def _gpt2() -> nn.Module:
    import transformers

    return _Logits(
        transformers.GPT2LMHeadModel(transformers.GPT2Config(use_cache=False))
    )


class _Logits(nn.Module):
    """The next token's logits, as one tensor."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.transformer = model.transformer
        self.lm_head = model.lm_head

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.transformer(input_ids=x).last_hidden_state
        logits: Tensor = self.lm_head(hidden[:, -1])
        return logits
