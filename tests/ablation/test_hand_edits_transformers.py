"""Cuts in Swin, ViT and GPT-2 equal forwards edited by hand, bit for bit."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from timm.models.swin_transformer import window_partition, window_reverse
from torch import Tensor

from benchmarks.conformance.shake import shake
from surgery.testing._by_hand import At
from tests.ablation.by_hand import (
    ALL,
    PLAIN,
    Case,
    compare,
    gradients_agree,
    images,
    untouched,
)


def heads(at: At, name: str, y: Tensor, count: int) -> Tensor:
    """Side by side in the last axis."""
    size = y.shape[-1] // count
    for head in range(count):
        last = (head + 1) * size - 1
        y = at.part(f"{name}:head#{head}", y, y.ndim - 1, head * size, last)
    return y


def swin_attention(m: Any, at: At, name: str, x: Tensor) -> Tensor:
    a, (height, width), (side, _) = m.attn, x.shape[1:3], m.window_size
    shift = m.shift_size[0]
    if shift:
        x = torch.roll(x, (-shift, -shift), (1, 2))
    windows = window_partition(x, m.window_size).view(-1, side * side, x.shape[-1])
    number, tokens, _ = windows.shape
    qkv = a.qkv(windows).reshape(number, tokens, 3, a.num_heads, -1)
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    scores = (q * a.scale) @ k.transpose(-2, -1) + a._get_rel_pos_bias()
    if m.attn_mask is not None:
        scores = scores.view(-1, len(m.attn_mask), a.num_heads, tokens, tokens)
        scores = (scores + m.attn_mask[None, :, None]).flatten(0, 1)
    y = scores.softmax(-1) @ v
    y = y.transpose(1, 2).reshape(number, tokens, -1)
    y = a.proj(heads(at, f"{name}.attn", y, a.num_heads))
    y = window_reverse(y.view(-1, side, side, y.shape[-1]), (side, side), height, width)
    return torch.roll(y, (shift, shift), (1, 2)) if shift else y


def swin(m: Any, at: At, x: Tensor) -> Tensor:
    x = m.patch_embed(x)
    for s, stage in enumerate(m.layers):
        x = stage.downsample(x)
        for i, b in enumerate(stage.blocks):
            name = f"layers.{s}.blocks.{i}"
            shape = x.shape
            y = swin_attention(b, at, name, b.norm1(x))
            x = at(f"{name}:skip#0", x) + at(f"{name}:branch#0", y, x)
            x = x.reshape(shape[0], -1, shape[-1])
            y = at(f"{name}.mlp", b.mlp(b.norm2(x)), b.norm2(x))
            x = at(f"{name}:skip#1", x) + at(f"{name}:branch#1", y, x)
            x = x.reshape(shape)
    return m.head(m.norm(x))  # type: ignore[no-any-return]


def vit(m: Any, at: At, x: Tensor) -> Tensor:
    x = m.patch_embed(x)
    first = at(":cat#0.arg0", m.cls_token.expand(len(x), -1, -1))
    x = torch.cat([first, at(":cat#0.arg1", x)], 1) + m.pos_embed
    for i, b in enumerate(m.blocks):
        name, a, y = f"blocks.{i}", b.attn, b.norm1(x)
        qkv = a.qkv(y).reshape(*y.shape[:2], 3, a.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        y = y.transpose(1, 2).reshape(x.shape)
        y = a.proj(heads(at, f"{name}.attn", y, a.num_heads))
        x = at(f"{name}:skip#0", x) + at(f"{name}:branch#0", y, x)
        y = b.mlp(b.norm2(x))
        x = at(f"{name}:skip#1", x) + at(f"{name}:branch#1", y, x)
    return m.head(m.norm(x)[:, 0])  # type: ignore[no-any-return]


def gpt2(m: Any, at: At, ids: Tensor) -> Tensor:
    t = m.transformer
    tokens = ids.shape[1]
    x = t.wte(ids) + t.wpe(torch.arange(tokens)[None])
    for i, b in enumerate(t.h):
        name, a, given = f"transformer.h.{i}", b.attn, x
        q, k, v = a.c_attn(b.ln_1(x)).split(x.shape[-1], 2)

        def split(y: Tensor) -> Tensor:
            return y.view(*y.shape[:2], 4, -1).transpose(1, 2)  # of 4 heads each

        scores = split(q) @ split(k).transpose(-1, -2) * a.head_dim**-0.5
        scores = scores + torch.full((tokens, tokens), MINUS).triu(1)
        y = (scores.softmax(-1) @ split(v)).transpose(1, 2).reshape(x.shape)
        flat = y.reshape(-1, x.shape[-1])  # as Conv1D does with what it is given
        y = a.c_proj(heads(at, f"{name}.attn", flat, 4)).reshape(x.shape)
        x = at(f"{name}:branch#0", y, given) + at(f"{name}:skip#0", x)
        wide = b.mlp.c_fc(b.ln_2(x))
        inner = 0.7978845608028654 * (wide + 0.044715 * torch.pow(wide, 3.0))
        curved = at(f"{name}.mlp.act:tanh#0", torch.tanh(inner), inner)
        y = b.mlp.c_proj(0.5 * wide * (1.0 + curved))
        x = at(f"{name}:skip#1", x) + at(f"{name}:branch#1", y, x)
    return m.lm_head(t.ln_f(x))  # type: ignore[no-any-return]


MINUS = torch.finfo(torch.float32).min


def make_swin() -> Any:
    import timm

    return timm.create_model(
        "swin_tiny_patch4_window7_224", num_classes=5, img_size=64, window_size=4
    )


def make_vit() -> Any:
    import timm

    return timm.create_model(
        "vit_tiny_patch16_224", num_classes=5, img_size=32, depth=3
    )


def make_gpt2() -> Any:
    import transformers

    make_config: Any = transformers.GPT2Config
    config = make_config(
        vocab_size=99,
        n_positions=16,
        n_embd=32,
        n_layer=2,
        n_head=4,
        bos_token_id=None,
        eos_token_id=None,
        attn_implementation="eager",
    )
    return transformers.GPT2LMHeadModel(config)


def words(seed: int) -> Tensor:
    return torch.randint(0, 99, (2, 7), generator=torch.Generator().manual_seed(seed))


MODELS: dict[str, tuple[Any, Any]] = {
    "swin": (make_swin, swin),
    "vit": (make_vit, vit),
    "gpt2": (make_gpt2, gpt2),
}


@cache
def case_of(name: str) -> Case:
    make, forward = MODELS[name]
    torch.manual_seed(0)
    model = make().eval()
    shake(model, seed=1)
    size = {"swin": 64, "vit": 32}.get(name)
    draw = words if size is None else lambda seed: images(size, seed)
    return Case(model, draw(2), (draw(3), draw(4)), forward)


CUTS: dict[tuple[str, str], tuple[str, ...]] = {
    ("swin", "layers.0.blocks.1:skip#0"): PLAIN,
    ("swin", "layers.2.blocks.3:branch#0"): ALL,
    ("swin", "layers.1.blocks.0:branch#1"): ALL,
    ("swin", "layers.0.blocks.1.attn:head#2"): PLAIN,  # of shifted windows
    ("swin", "layers.3.blocks.0.attn:head#0"): PLAIN,
    ("vit", "blocks.1:skip#1"): PLAIN,
    ("vit", "blocks.2:branch#0"): ALL,
    ("vit", "blocks.1.attn:head#2"): PLAIN,
    ("vit", ":cat#0.arg1"): PLAIN,
    ("gpt2", "transformer.h.0:skip#0"): PLAIN,
    ("gpt2", "transformer.h.1:branch#1"): ALL,
    ("gpt2", "transformer.h.1.attn:head#3"): PLAIN,
    ("gpt2", "transformer.h.0.mlp.act:tanh#0"): ALL,
}
TRIED = [(*cut, mode) for cut, modes in CUTS.items() for mode in modes]


@pytest.mark.parametrize("name", MODELS)
def test_the_forward_by_hand_is_the_models_own(name: str) -> None:
    untouched(case_of(name))


@pytest.mark.parametrize(("name", "target", "mode"), TRIED)
def test_a_cut_equals_the_forward_edited_by_hand(
    name: str, target: str, mode: str
) -> None:
    compare(case_of(name), target, mode)


@pytest.mark.parametrize(("name", "target"), CUTS)
def test_half_a_cut_equals_the_forward_edited_by_hand(name: str, target: str) -> None:
    compare(case_of(name), target, "noise", 0.25)


@pytest.mark.parametrize(("name", "target"), CUTS)
def test_gradients_are_those_of_the_forward_edited_by_hand(
    name: str, target: str
) -> None:
    gradients_agree(case_of(name), target)
