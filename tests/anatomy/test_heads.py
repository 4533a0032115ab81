"""Heads: where each attention head's output enters the projection, never guessed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgery.anatomy import Component, Site, Slice, record

X = torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(0))


def heads(model: nn.Module, *args: Any, **kwargs: Any) -> dict[str, Component]:
    found = record(model, args, kwargs).parts
    return {part.name: part for part in found if part.kind == "head"}


def sites(part: Component) -> tuple[Site, ...]:
    assert part.place is not None
    return part.place.sites


class Attention(nn.Module):
    """Self-attention whose merge of heads is a given function; 4 heads of 2."""

    def __init__(self, merge: Callable[[Attention, Tensor], Tensor]) -> None:
        super().__init__()
        self.num_heads = 4
        self.qkv, self.proj = nn.Linear(8, 24), nn.Linear(8, 8)
        self.conv = nn.Conv1d(8, 8, 1)
        self.merge = merge

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, 4, 2).permute(2, 0, 3, 1, 4)
        weights = (q @ k.mT).softmax(-1)
        return self.merge(self, weights @ v)  # (b, heads, n, 2)


def standard(m: Attention, x: Tensor) -> Tensor:
    return m.proj(x.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


CONTIGUOUS = [((2 * h, 2 * h + 1),) for h in range(4)]
INTERLEAVED = [((h, h), (h + 4, h + 4)) for h in range(4)]
LAYOUTS: dict[str, tuple[Callable[[Attention, Tensor], Tensor], str, int, Any]] = {
    "standard": (standard, "linear", -1, CONTIGUOUS),
    "interleaved": (
        lambda m, x: m.proj(x.permute(0, 2, 3, 1).reshape(3, 6, 8)),
        "linear",
        -1,
        INTERLEAVED,
    ),
    "convolution": (
        lambda m, x: m.conv(x.mT.reshape(3, 8, 6)),
        "conv1d",
        -2,
        CONTIGUOUS,
    ),
    "normalised and gated": (
        lambda m, x: m.proj(F.layer_norm(x.mT.mT.transpose(1, 2).flatten(2), (8,)) * 2),
        "linear",
        -1,
        CONTIGUOUS,
    ),
    "list of heads": (
        lambda m, x: m.proj(torch.cat([x[:, h] for h in range(4)], -1)),
        "linear",
        -1,
        CONTIGUOUS,
    ),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_heads_channels_are_read_off_however_they_are_laid_out(case: str) -> None:
    merge, function, axis, pieces = LAYOUTS[case]
    found = heads(Attention(merge), X)
    assert list(found) == [f":head#{h}" for h in range(4)]
    path = "conv" if function == "conv1d" else "proj"
    for h, part in enumerate(found.values()):
        assert part.slice == Slice("head", h, h) and part.index is None
        assert sites(part) == (Site(path, function, 0, 0, axis=axis, pieces=pieces[h]),)


def test_zeroing_the_pieces_is_zeroing_the_head() -> None:
    """The slow truth: the head's output set to zero inside the attention."""

    def without(h: int) -> Callable[[Attention, Tensor], Tensor]:
        def merge(m: Attention, x: Tensor) -> Tensor:
            x = x.clone()
            x[:, h] = 0
            return standard(m, x)

        return merge

    model = Attention(standard)
    for h, part in enumerate(heads(model, X).values()):

        def cut(_: nn.Module, args: Any, part: Component = part) -> Any:
            x = args[0].clone()
            for first, last in sites(part)[0].pieces:
                x[..., first : last + 1] = 0
            return (x,)

        handle = model.proj.register_forward_pre_hook(cut)
        got = model(X)
        handle.remove()
        model.merge = without(h)
        torch.testing.assert_close(got, model(X))
        model.merge = standard


def test_heads_that_share_channels_are_none() -> None:
    assert not heads(Attention(lambda m, x: m.proj(x.reshape(3, 6, 8))), X)
    assert not heads(Attention(lambda m, x: x.sum(1)), X)


def test_attention_without_a_number_of_heads_has_none() -> None:
    model = Attention(standard)
    del model.num_heads
    assert not heads(model, X)


def test_several_projections_of_one_output_are_all_sites() -> None:
    def adapted(m: Attention, x: Tensor) -> Tensor:
        y = x.transpose(1, 2).flatten(2)
        return m.proj(y) + F.linear(y, m.proj.weight)  # type: ignore[no-any-return]

    (first, *_) = heads(Attention(adapted), X).values()
    assert [(s.path, s.function, s.operand) for s in sites(first)] == [
        ("proj", "linear", 0),
        ("", "linear", 0),
    ]


def test_folded_heads_and_batch_are_told_apart() -> None:
    class Folded(Attention):
        def forward(self, x: Tensor) -> Tensor:
            b, n, _ = x.shape
            q, k, v = self.qkv(x).view(b, n, 3, 4, 2).permute(2, 0, 3, 1, 4)
            q, k, v = (y.reshape(b * 4, n, 2) for y in (q, k, v))
            y = torch.bmm(torch.bmm(q, k.mT).softmax(-1), v)
            return standard(self, y.view(b, 4, n, 2))

    found = heads(Folded(standard), X)
    assert [sites(part)[0].pieces for part in found.values()] == CONTIGUOUS


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("batched", [False, True])
def test_multi_head_attention_says_its_heads(
    batch_first: bool, need_weights: bool, batched: bool
) -> None:
    model = nn.MultiheadAttention(8, 4, batch_first=batch_first).eval()
    x = X if batched else X[0]
    found = heads(model, x, x, x, need_weights=need_weights)
    assert [sites(part) for part in found.values()] == [
        (Site("", "multi_head_attention_forward", 0, None, axis=-1, pieces=pieces),)
        for pieces in CONTIGUOUS
    ]


def test_the_fused_encoder_layer_shows_its_heads_and_residuals() -> None:
    model = nn.TransformerEncoderLayer(8, 4, 16, batch_first=True).eval()
    found = record(model, (X,)).parts
    assert sum(part.kind == "head" for part in found) == 4
    assert sum(part.kind == "skip" for part in found) == 2


TIMM: Mapping[str, tuple[int, int, str]] = {
    "vit_tiny_patch16_224": (224, 36, "blocks.0.attn"),
    "swin_tiny_patch4_window7_224": (224, 138, "layers.0.blocks.0.attn"),
    "mvitv2_tiny": (224, 41, "stages.0.blocks.0.attn"),
    "hiera_tiny_224": (224, 49, "blocks.0.attn"),
    "levit_128s": (224, 82, "stages.0.blocks.0.attn"),
    "xcit_nano_12_p16_224": (224, 56, "blocks.0.attn"),
}


@pytest.mark.parametrize("name", TIMM)
def test_heads_of_real_models_are_counted_exactly(name: str) -> None:
    size, count, owner = TIMM[name]
    model = timm.create_model(name).eval()
    found = heads(model, torch.randn(2, 3, size, size))
    assert len(found) == count
    assert f"{owner}:head#0" in found


def test_fused_and_plain_attention_have_the_same_heads() -> None:
    model = timm.create_model("test_vit").eval()
    x = torch.randn(2, 3, 160, 160)
    fused = {name: sites(part) for name, part in heads(model, x).items()}
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False  # type: ignore[assignment]
    assert {name: sites(part) for name, part in heads(model, x).items()} == fused


SMALL = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
IDS = torch.arange(12).reshape(2, 6)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_hugging_face_heads_are_query_heads_at_the_projection(attention: str) -> None:
    transformers = pytest.importorskip("transformers")
    llama = transformers.LlamaConfig(
        **SMALL, num_key_value_heads=2, attn_implementation=attention
    )
    found = heads(transformers.LlamaModel(llama).eval(), IDS)
    assert len(found) == 8
    (site,) = sites(found["layers.0.self_attn:head#1"])
    assert site == Site(
        "layers.0.self_attn.o_proj", "linear", 0, 0, axis=-1, pieces=((4, 7),)
    )
    bert = transformers.BertConfig(**SMALL, attn_implementation=attention)
    found = heads(transformers.BertModel(bert).eval(), IDS)
    (site,) = sites(found["encoder.layer.0.attention.self:head#3"])
    assert site.path == "encoder.layer.0.attention.output.dense"
    assert site.pieces == ((12, 15),)


def test_gpt2_has_two_residual_adds_per_block_and_heads_before_addmm() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        n_layer=2, n_head=4, n_embd=16, vocab_size=50, bos_token_id=1, eos_token_id=1
    )
    found = {
        part.name: part
        for part in record(transformers.GPT2LMHeadModel(config).eval(), (IDS,)).parts
    }
    skips = [name for name, part in found.items() if part.kind == "skip"]
    assert skips == [f"transformer.h.{b}:skip#{k}" for b in (0, 1) for k in (0, 1)]
    place = found["transformer.h.0:branch#0"].place
    assert place is not None
    assert place.modules == ("transformer.h.0.ln_1", "transformer.h.0.attn")
    (site,) = sites(found["transformer.h.1.attn:head#2"])
    assert (site.path, site.function) == ("transformer.h.1.attn.c_proj", "addmm")
    assert (site.operand, site.pieces) == (1, ((8, 11),))


def test_a_layer_that_is_called_again_and_again_has_its_heads_once() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.AlbertConfig(embedding_size=8, **SMALL)
    found = heads(transformers.AlbertModel(config).eval(), IDS)
    assert len(found) == 4
    assert all(site.call is None for part in found.values() for site in sites(part))


class Around(nn.Module):
    """Code around an attention, which gives its heads' values side by side."""

    def __init__(self, code: Callable[[Around, Tensor], Tensor]) -> None:
        super().__init__()
        self.attn = Attention(lambda m, x: x.transpose(1, 2).flatten(2))
        self.other = Attention(lambda m, x: x.transpose(1, 2).flatten(2))
        self.proj, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)
        self.code = code

    def forward(self, x: Tensor) -> Tensor:
        return self.code(self, x)


MIXED: dict[str, Callable[[Around, Tensor], Tensor]] = {
    "added": lambda m, x: m.proj(x + m.attn(x)),
    "added and normalised": lambda m, x: m.proj(m.norm(m.attn(x) + x)),
    "another attention's": lambda m, x: m.proj(m.attn(x) + m.other(x)),
    "times another attention's": lambda m, x: m.proj(m.attn(x) * m.other(x)),
    "taken from either": lambda m, x: m.proj(torch.where(x > 0, m.attn(x), x)),
    "mixed": lambda m, x: m.proj(torch.lerp(m.attn(x), x, 0.5)),
}


@pytest.mark.parametrize("case", MIXED)
def test_channels_that_hold_other_data_too_are_no_heads(case: str) -> None:
    assert not heads(Around(MIXED[case]), X)


KEPT: dict[str, Callable[[Around, Tensor], Tensor]] = {
    "gated": lambda m, x: m.proj(m.attn(x) * x.sigmoid()),
    "shifted": lambda m, x: m.proj(m.norm(m.attn(x) + m.norm.bias)),
}


@pytest.mark.parametrize("case", KEPT)
def test_a_multiplier_or_a_constant_leaves_the_heads_where_they_are(case: str) -> None:
    found = heads(Around(KEPT[case]), X)
    assert [sites(part)[0].pieces for part in found.values()] == CONTIGUOUS


def test_what_is_added_head_by_head_belongs_to_the_heads() -> None:
    """As a residual of the queries, in the attention's own code."""

    class Pooled(Attention):
        def forward(self, x: Tensor) -> Tensor:
            b, n, _ = x.shape
            q, k, v = self.qkv(x).view(b, n, 3, 4, 2).permute(2, 0, 3, 1, 4)
            return standard(self, (q @ k.mT).softmax(-1) @ v + q)

    class Late(Pooled):
        def forward(self, x: Tensor) -> Tensor:
            b, n, _ = x.shape
            q, k, v = self.qkv(x).view(b, n, 3, 4, 2).permute(2, 0, 3, 1, 4)
            y = ((q @ k.mT).softmax(-1) @ v).transpose(1, 2).flatten(2)
            return self.proj(y + x)  # type: ignore[no-any-return]

    found = heads(Pooled(standard), X)
    assert [sites(part)[0].pieces for part in found.values()] == CONTIGUOUS
    assert not heads(Late(standard), X)


def test_a_number_of_heads_elsewhere_in_the_model_is_not_a_module_s_own() -> None:
    """A soft mixture with as many experts as the attention around it has heads."""

    class Mixture(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.slots, self.proj = nn.Linear(8, 4 * 2), nn.Linear(32, 8)

        def forward(self, x: Tensor) -> Tensor:
            weights = self.slots(x).softmax(1).view(3, 6, 4, 2)
            y = torch.einsum("bnes,bnd->besd", weights, x)
            return self.proj(y.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.num_heads, self.mixture = 4, Mixture()

        def forward(self, x: Tensor) -> Tensor:
            return self.mixture(x)  # type: ignore[no-any-return]

    assert not heads(Block(), X)
