"""Attention heads: cutting one is zeroing its columns of the projection."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

import surgery
from surgery.errors import TargetError
from tests.backends.cutting import assert_clean, cut, part

G = torch.Generator().manual_seed(0)
X = torch.randn(2, 5, 12, generator=G)
HEADS, SIZE = 3, 4


@pytest.fixture(autouse=True)
def no_grad() -> Generator[None]:
    torch.manual_seed(0)
    with torch.no_grad():
        yield


@contextmanager
def without_columns(
    weight: Tensor, axis: int, first: int, last: int
) -> Generator[None]:
    """A projection that does not see a range of what goes into it."""
    before = weight.clone()
    weight.narrow(axis, first, last - first + 1).zero_()
    yield
    weight.copy_(before)


def attention(**options: Any) -> nn.MultiheadAttention:
    mha = nn.MultiheadAttention(HEADS * SIZE, HEADS, **options).eval()
    for parameter in mha.parameters():
        nn.init.normal_(parameter, std=0.4)
    return mha


def mha_head(head: int, path: str = "") -> Any:
    pieces = ((head * SIZE, (head + 1) * SIZE - 1),)
    name = "multi_head_attention_forward"
    return part("head", path, name, 0, axis=-1, pieces=pieces)


@pytest.mark.parametrize("head", range(HEADS))
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("need_weights", [False, True])
def test_a_head_of_multi_head_attention(
    head: int, batch_first: bool, need_weights: bool
) -> None:
    mha = attention(batch_first=batch_first)
    for x in (X, X[0]):
        with cut(mha, mha_head(head)) as edit:
            got, weights = mha(x, x, value=x, need_weights=need_weights)
            assert edit.fired == 1 and edit.changed
        with without_columns(mha.out_proj.weight, 1, head * SIZE, head * SIZE + 3):
            wanted, same = mha(x, x, value=x, need_weights=need_weights)
        torch.testing.assert_close(got, wanted)
        assert weights is same is None or torch.equal(weights, same)


def test_heads_of_attention_with_other_arguments() -> None:
    mha = attention(kdim=5, vdim=7, bias=False, add_zero_attn=True)
    k, v = torch.randn(6, 5, 5, generator=G), torch.randn(6, 5, 7, generator=G)
    mask = torch.zeros(2, 6, dtype=torch.bool)
    q = X.transpose(0, 1)
    k, v = k[:, :2], v[:, :2]
    mask[:, 4:] = True
    with cut(mha, mha_head(1)):
        got = mha(q, k, v, key_padding_mask=mask)[0]
    with without_columns(mha.out_proj.weight, 1, 4, 7):
        torch.testing.assert_close(got, mha(q, k, v, key_padding_mask=mask)[0])
    with cut(mha, mha_head(1)), torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(mha(q, k, v)[0]).all()


def test_untouched_heads_are_projected_bitwise_as_ever() -> None:
    mha = attention()
    plain = mha(X, X, X)[0]
    with cut(mha, mha_head(1), lambda output, inputs: output + 0):
        assert torch.equal(mha(X, X, X)[0], plain)


def test_the_fast_path_of_an_encoder_does_not_swallow_the_cut() -> None:
    layer = nn.TransformerEncoderLayer(12, HEADS, 16, batch_first=True).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of nested tensors
        model = nn.TransformerEncoder(layer, 2).eval()
    plain = model(X)
    attn = model.layers[1].self_attn
    with cut(model, mha_head(2, "layers.1.self_attn")) as edit:
        got = model(X)
        assert edit.fired == 1
    with without_columns(attn.out_proj.weight, 1, 8, 11):
        torch.testing.assert_close(got, model(X))
    assert (got - plain).abs().max() > 1e-3
    with surgery.ablate(model, "layers.0:branch#1") as op:
        assert not torch.allclose(model(X), plain)
        assert next(iter(op.effect(strict=True))).fired == 1


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("head", [0, 1])
def test_a_head_of_a_vision_transformer(known: bool, head: int) -> None:
    model: Any = timm.create_model("test_vit", pretrained=False).eval()
    for parameter in model.parameters():
        parameter.add_(torch.randn(parameter.shape) * 0.05)
    x = torch.randn(1, 3, *model.patch_embed.img_size)
    attn = model.blocks[1].attn
    size = attn.head_dim
    target = f"blocks.1.attn:head#{head}"
    with surgery.ablate(model, target, inputs=x if known else None) as op:
        got = model(x)
        assert next(iter(op.effect(strict=True))).fired == 1
    with without_columns(attn.proj.weight, 1, head * size, (head + 1) * size - 1):
        torch.testing.assert_close(got, model(x))
    assert_clean(model)
    with (
        pytest.raises(TargetError, match="head#1"),
        surgery.ablate(model, "blocks.1.attn:head#7"),
    ):
        model(x)


def gpt2() -> Any:
    config = GPT2Config(
        vocab_size=50, n_positions=32, n_embd=12, n_layer=2, n_head=3, use_cache=True
    )
    return GPT2LMHeadModel(config).train(False)


def llama() -> Any:
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
    )
    return LlamaForCausalLM(config).train(False)


def generated(model: Any) -> Tensor:
    ids = torch.tensor([[3, 7, 11], [5, 2, 9]])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=6,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
        pad_token_id=0,
        eos_token_id=None,
    )
    return torch.stack(out.logits)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_head_stays_cut_at_every_step_of_generation(name: str, known: bool) -> None:
    model = gpt2() if name == "gpt2" else llama()
    for parameter in model.parameters():
        parameter.add_(torch.randn(parameter.shape) * 0.3)
    plain = generated(model)
    inputs = {"input_ids": torch.tensor([[3, 7, 11]])} if known else None
    if name == "gpt2":  # its projection's weight is transposed
        path, weight, axis = "transformer.h.1.attn", None, 0
        weight = model.transformer.h[1].attn.c_proj.weight
    else:
        path, axis = "model.layers.1.self_attn", 1
        weight = model.model.layers[1].self_attn.o_proj.weight
    with surgery.ablate(model, f"{path}:head#1", inputs=inputs) as op:
        got = generated(model)
        assert next(iter(op.effect(strict=True))).fired == 6
    with without_columns(weight, axis, 4, 7):
        torch.testing.assert_close(got, generated(model))
    assert (got - plain).abs().max() > 1e-3
    assert_clean(model)


@pytest.mark.parametrize("known", [True, False])
def test_a_branch_stays_cut_at_every_step_of_generation(known: bool) -> None:
    model = llama()
    for parameter in model.parameters():
        parameter.add_(torch.randn(parameter.shape) * 0.3)
    inputs = {"input_ids": torch.tensor([[3, 7, 11]])} if known else None
    with surgery.ablate(model, "model.layers.0:branch#1", inputs=inputs):
        got = generated(model)
    model.model.layers[0].mlp.down_proj.weight.zero_()
    torch.testing.assert_close(got, generated(model))
