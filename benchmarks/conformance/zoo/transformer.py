"""A model of Hugging Face's transformers from its configuration, and its input."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.conformance.zoo.specimen import Specimen

TOKENS = 7
Draw = Callable[[], dict[str, Tensor]]


def ids() -> Tensor:
    """Tokens that are none of the special ones."""
    return torch.randint(5, 99, (2, TOKENS))


def text() -> dict[str, Tensor]:
    """Two sentences of equal length."""
    return {"input_ids": ids()}


def padded() -> dict[str, Tensor]:
    """Two sentences, one of them padded."""
    mask = torch.ones(2, TOKENS, dtype=torch.long)
    mask[0, 5:] = 0
    return {"input_ids": ids(), "attention_mask": mask}


def both() -> dict[str, Tensor]:
    """A sentence for the encoder, one for the decoder."""
    return {"input_ids": ids(), "decoder_input_ids": ids()[:, :4]}


def image() -> dict[str, Tensor]:
    """Two images of 32 x 32."""
    return {"pixel_values": torch.randn(2, 3, 32, 32)}


def large_image() -> dict[str, Tensor]:
    """Two images of 64 x 64."""
    return {"pixel_values": torch.randn(2, 3, 64, 64)}


def image_and_text() -> dict[str, Tensor]:
    """Two images, two sentences."""
    return {**text(), **image()}


def speech() -> dict[str, Tensor]:
    """Two spectrograms and what the decoder has said so far."""
    return {
        "input_features": torch.randn(2, 8, 32),
        "decoder_input_ids": ids()[:, :4],
    }


@dataclass(frozen=True)
class Transformer:
    """A model class, its configuration class and options, and what goes in."""

    model: str
    config: str
    options: Mapping[str, Any]
    draw: Draw

    def __call__(self) -> Specimen:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        import transformers

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = getattr(transformers, self.config)(**_made(self.options))
            model = getattr(transformers, self.model)(config)
        fields = self.draw()
        words = ", ".join(
            f"{name} {' x '.join(map(str, x.shape))}" for name, x in fields.items()
        )
        return Specimen(model, (), fields, words)


@dataclass(frozen=True)
class Config:
    """A configuration inside another."""

    name: str
    options: Mapping[str, Any]


def _made(options: Mapping[str, Any]) -> dict[str, Any]:
    import transformers

    return {
        key: getattr(transformers, value.name)(**value.options)
        if isinstance(value, Config)
        else value
        for key, value in options.items()
    }
