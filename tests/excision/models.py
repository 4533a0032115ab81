"""Small versions of real models, with weights under which every part matters."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn

from benchmarks.conformance.shake import shake

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
OTHERS = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))
TOKENS = torch.randint(50, (2, 7), generator=torch.Generator().manual_seed(3))
OTHER_TOKENS = torch.randint(50, (3, 9), generator=torch.Generator().manual_seed(4))

_SIZES: dict[str, dict[str, Any]] = {
    "resnet18": {"channels": (4, 4, 8, 8)},
    "resnet50": {"channels": (4, 4, 8, 8), "layers": (1, 1, 1, 1)},
    "vit_tiny_patch16_224": {
        **{"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2},
        **{"drop_path_rate": 0.2, "proj_drop_rate": 0.1},
    },
    "swin_tiny_patch4_window7_224": {
        **{"img_size": 32, "window_size": 2, "embed_dim": 12},
        **{"depths": (2, 2), "num_heads": (3, 3)},
    },
    "convnext_atto": {"dims": (8, 8, 16, 16), "depths": (1, 1, 1, 1)},
    "densenet121": {"growth_rate": 4, "block_config": (2, 2)},
    "mobilenetv3_small_050": {},
}


def real_model(name: str) -> nn.Module:
    """A model by its name, small, in eval mode."""
    torch.manual_seed(0)
    model = _gpt2() if name == "gpt2" else _timm(name)
    shake(model, 0)
    return model.eval()


def example(name: str) -> tuple[Tensor, Tensor]:
    """An input for a model, and another of another size."""
    return (TOKENS, OTHER_TOKENS) if name == "gpt2" else (IMAGES, OTHERS)


def outputs(model: nn.Module, x: Tensor) -> Tensor:
    """What a model gives, as one tensor."""
    with torch.no_grad():
        given: object = model(x)
    found = given if isinstance(given, Tensor) else getattr(given, "logits", None)
    assert isinstance(found, Tensor)
    return found


def _timm(name: str) -> nn.Module:
    model: nn.Module = timm.create_model(name, num_classes=5, **_SIZES[name])
    return model


def _gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        n_layer=2,
        n_embd=16,
        n_head=4,
        vocab_size=50,
        n_positions=32,
        bos_token_id=0,
        eos_token_id=0,
        use_cache=False,
    )
    model: nn.Module = GPT2LMHeadModel(config)
    return model
