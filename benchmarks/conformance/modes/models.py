"""The zoo: real architectures at the smallest input each takes, weights drawn here.

Nothing is downloaded; Hugging Face models come from tiny configurations.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

BATCH = 2
CLASSES = 10


@dataclass(frozen=True)
class Probe:
    """A model, what it runs on, and other data to average over.

    Attributes:
        model: Freshly initialised.
        args: Positional inputs of one forward, `BATCH` samples.
        kwargs: Keyword inputs of that forward.
        data: Batches of other samples, as `surgery.ablate(data=...)` takes them.
        input: What goes in, in words.
    """

    model: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    data: tuple[Any, ...]
    input: str = ""


Maker = Callable[[], Probe]


@dataclass(frozen=True)
class _Image:
    """A timm model on square images."""

    name: str
    size: int
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self) -> Probe:
        import timm

        model = timm.create_model(self.name, num_classes=CLASSES, **self.options)
        images = torch.randn(BATCH, 3, self.size, self.size)
        others = torch.randn(BATCH + 1, 3, self.size, self.size)
        data = ((others, torch.zeros(BATCH + 1, dtype=torch.long)),)
        return Probe(model, (images,), {}, data, f"3 x {self.size} x {self.size}")


def _text(make: Callable[[Any], nn.Module], padded: bool) -> Probe:
    import transformers

    def draw(samples: int) -> dict[str, torch.Tensor]:
        fields = {"input_ids": torch.randint(5, 99, (samples, 7))}
        if padded:
            mask = torch.ones(samples, 7, dtype=torch.long)
            mask[0, 5:] = 0
            fields["attention_mask"] = mask
        return fields

    model = make(transformers)
    return Probe(model, (), draw(BATCH), (draw(BATCH + 1),), "7 tokens")


def _gpt2(transformers: Any) -> nn.Module:
    config = transformers.GPT2Config(
        vocab_size=99,
        n_positions=16,
        n_embd=32,
        n_layer=2,
        n_head=4,
        bos_token_id=None,
        eos_token_id=None,
    )
    model: nn.Module = transformers.GPT2LMHeadModel(config)
    return model


def _bert(transformers: Any) -> nn.Module:
    config = transformers.BertConfig(
        vocab_size=99,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=16,
        num_labels=CLASSES,
    )
    model: nn.Module = transformers.BertForSequenceClassification(config)
    return model


def _hf_vit() -> Probe:
    import transformers

    make_config: Any = transformers.ViTConfig
    config = make_config(
        image_size=32,
        patch_size=8,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        num_labels=CLASSES,
    )
    model = transformers.ViTForImageClassification(config)
    images = {"pixel_values": torch.randn(BATCH, 3, 32, 32)}
    others = {"pixel_values": torch.randn(BATCH + 1, 3, 32, 32)}
    return Probe(model, (), images, (others,), "3 x 32 x 32")


ZOO: Mapping[str, Maker] = {
    "resnet18": _Image("resnet18", 32),
    "resnet50": _Image("resnet50", 32),
    # Windows of 4 on a grid of 16: the first two stages really shift.
    "swin_tiny_patch4_window7_224": _Image(
        "swin_tiny_patch4_window7_224", 64, {"img_size": 64, "window_size": 4}
    ),
    "vit_tiny_patch16_224": _Image("vit_tiny_patch16_224", 32, {"img_size": 32}),
    "convnext_atto": _Image("convnext_atto", 32),
    "densenet121": _Image("densenet121", 32),
    "efficientnet_b0": _Image("efficientnet_b0", 32),
    "mixer_s32_224": _Image("mixer_s32_224", 64, {"img_size": 64}),
    "hf_gpt2": partial(_text, _gpt2, padded=False),
    "hf_bert": partial(_text, _bert, padded=True),
    "hf_vit": _hf_vit,
}
"""What the program runs on, by name."""

SAMPLE: Mapping[str, Maker] = {
    "test_resnet": _Image("test_resnet", 32),
    "test_vit": _Image("test_vit", 32, {"img_size": 32}),
    "test_convnext": _Image("test_convnext", 32),
    "test_efficientnet": _Image("test_efficientnet", 32),
    "hf_gpt2": ZOO["hf_gpt2"],
    "hf_bert": ZOO["hf_bert"],
}
"""Small models of the same families, for `make test`."""


def make(name: str, seed: int = 0) -> Probe:
    """Build a model of the zoo or the sample, and its inputs, under a seed."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        probe = (ZOO[name] if name in ZOO else SAMPLE[name])()
    probe.model.eval()
    return probe
