"""Reinit draws as the layer draws its own; where no way is known it says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import surgery
from surgery._random import derive, seeded
from surgery.errors import OperationError, ShapeMismatchError


def drawn(
    model: nn.Module, target: str, seed: int = 0, **arguments: Any
) -> dict[str, Tensor]:
    """All of the model's tensors under a reinit of `target`."""
    mode = surgery.ops.Reinit(**arguments)
    with surgery.ablate(model, target, mode, seed=seed):
        return {
            **{k: v.clone() for k, v in model.named_parameters(remove_duplicate=False)},
            **{k: v.clone() for k, v in model.named_buffers()},
        }


def own_seed(seed: int, component: str) -> int:
    return derive(derive(seed, component), "reinit")


@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.Linear(5, 3),
        lambda: nn.Conv2d(3, 8, 3),
        lambda: nn.BatchNorm2d(4),
        lambda: nn.LayerNorm(4),
        lambda: nn.Embedding(7, 3),
        lambda: nn.LSTM(3, 4),
        lambda: nn.PReLU(2, init=0.1),
    ],
)
def test_a_layer_is_what_its_own_reset_parameters_gives_under_the_seed(
    layer: Callable[[], Any],
) -> None:
    model = nn.ModuleDict({"part": layer()})
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.fill_(3.0)
        for buffer in model.buffers():
            buffer.fill_(3)
    got = drawn(model, "part", seed=5)
    twin = layer()
    with seeded(own_seed(5, "part")):
        twin.reset_parameters()
    for name, tensor in {**dict(twin.named_parameters())}.items():
        assert torch.equal(got[f"part.{name}"], tensor)
    for name, buffer in twin.named_buffers():
        assert torch.equal(got[f"part.{name}"], buffer)


def test_attention_is_drawn_in_the_order_in_which_it_is_built() -> None:
    got = drawn(nn.Sequential(nn.MultiheadAttention(8, 2)), "0")
    bound = (6 / (8 + 24)) ** 0.5
    assert 0.8 * bound < got["0.in_proj_weight"].abs().max() <= bound
    # The attention zeroes the bias that its own projection drew before.
    assert not got["0.out_proj.bias"].any() and not got["0.in_proj_bias"].any()


def test_different_seeds_differ_and_equal_seeds_agree() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    one, again, other = (drawn(model, "0", s)["0.weight"] for s in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)


TIMM: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet18": ("layer1.0", {}),
    "vit_tiny_patch16_224": ("blocks.1", {"depth": 2, "img_size": 32}),
    "swin_tiny_patch4_window7_224": (
        "layers.0.blocks.1",
        {"depths": (2, 2), "embed_dim": 48, "num_heads": (3, 6), "img_size": 56},
    ),
    "mixer_s32_224": ("blocks.1", {"img_size": 64}),
    "densenet121": ("features.denseblock1.denselayer1", {}),
    "efficientnet_b0": ("blocks.1.0", {}),
    "convnext_atto": ("stages.1", {}),
}


@pytest.mark.parametrize("name", TIMM)
def test_a_timm_block_is_distributed_as_in_a_fresh_model(name: str) -> None:
    target, arguments = TIMM[name]
    model = timm.create_model(name, **arguments)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.fill_(3.0)
    fresh = dict(timm.create_model(name, **arguments).named_parameters())
    got = drawn(model, target)
    _same_distribution(got, fresh, f"{target}.")


def _same_distribution(
    got: Mapping[str, Tensor], fresh: Mapping[str, Tensor], prefix: str
) -> None:
    compared = 0
    for name, parameter in fresh.items():
        if not name.startswith(prefix):
            continue
        compared += 1
        tensor, wanted = got[name].detach().float(), parameter.detach()
        if wanted.numel() > 500 and wanted.std() > 0:
            ratio = float(tensor.std() / wanted.std())
            assert 0.85 < ratio < 1.15, (name, ratio)
            tail = float(tensor.abs().quantile(0.98) / wanted.abs().quantile(0.98))
            assert 0.85 < tail < 1.15, (name, tail)  # uniform is not normal
        elif wanted.std() == 0 or wanted.numel() == 1:
            torch.testing.assert_close(tensor, wanted, msg=name)
        else:
            assert float(tensor.abs().max()) < 5 * float(wanted.abs().max()) + 0.1
    assert compared


def _hf(kind: str) -> tuple[Callable[[], nn.Module], str]:
    import transformers as hf

    sizes: dict[str, Any] = {
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "hidden_size": 64,
    }
    if kind == "gpt2":
        config = hf.GPT2Config(n_layer=2, n_head=2, n_embd=64, vocab_size=50)
        return lambda: hf.GPT2LMHeadModel(config), "transformer.h.1"
    if kind == "bert":
        bert = hf.BertConfig(vocab_size=50, intermediate_size=64, **sizes)
        return lambda: hf.BertModel(bert), "encoder.layer.1"
    vit = hf.ViTConfig(image_size=32, patch_size=8, intermediate_size=64, **sizes)
    model = hf.ViTModel(vit)
    holder = next(
        n for n, m in model.named_modules() if n.endswith(".1") and "layer" in n
    )
    return lambda: hf.ViTModel(vit), holder


@pytest.mark.parametrize("kind", ["gpt2", "bert", "vit"])
def test_a_hugging_face_block_is_distributed_as_in_a_fresh_model(kind: str) -> None:
    make, target = _hf(kind)
    model = make()
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.fill_(3.0)
    got = drawn(model, target)
    _same_distribution(got, dict(make().named_parameters()), f"{target}.")


def test_a_tied_head_of_a_language_model_can_be_drawn_by_its_own_name() -> None:
    make, _ = _hf("gpt2")
    model: Any = make()
    with torch.no_grad():
        model.lm_head.weight.fill_(3.0)
    got = drawn(model, "lm_head")
    assert 0.015 < float(got["lm_head.weight"].detach().std()) < 0.025
    assert torch.equal(got["lm_head.weight"], got["transformer.wte.weight"])


class Scale(nn.Module):
    """No reset_parameters, but its arguments are attributes."""

    def __init__(self, dim: int, init: float = 0.25) -> None:
        super().__init__()
        self.dim, self.init = dim, init
        self.gamma = nn.Parameter(torch.full((dim,), init))


class Lost(nn.Module):
    """Nobody can know how its parameter began."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, size))


def test_a_module_without_reset_parameters_is_rebuilt_from_what_it_kept() -> None:
    model = nn.Sequential(Scale(3, 0.5))
    with torch.no_grad():
        model[0].gamma.fill_(9.0)  # type: ignore[operator]
    assert torch.equal(drawn(model, "0")["0.gamma"], torch.full((3,), 0.5))
    assert torch.equal(drawn(model, "0.gamma")["0.gamma"], torch.full((3,), 0.5))


@pytest.mark.parametrize("target", ["cls_token", "pos_embed", "blocks.0.ls1.gamma"])
def test_parameters_that_a_vit_owns_directly_are_drawn(target: str) -> None:
    def make() -> nn.Module:
        model: nn.Module = timm.create_model(
            "vit_tiny_patch16_224", depth=1, img_size=64, init_values=1e-5
        )
        return model

    model = make()
    with torch.no_grad():
        dict(model.named_parameters())[target].fill_(3.0)
    got = drawn(model, target)
    _same_distribution(got, dict(make().named_parameters()), target)


def test_where_no_way_is_known_it_says_what_mends_it() -> None:
    model = nn.Sequential(nn.Linear(2, 2), Lost(3))
    weight = model[1].token.clone()  # type: ignore[operator]
    for target in ("1", "1.token"):
        with pytest.raises(OperationError, match=r"1\.token.*Reinit\(factory=make"):
            surgery.ablate(model, target, "reinit")
    assert torch.equal(model[1].token, weight)  # type: ignore[arg-type]
    fresh = drawn(model, "1", factory=lambda: nn.Sequential(nn.Linear(2, 2), Lost(3)))
    with seeded(own_seed(0, "1")):
        twin = nn.Sequential(nn.Linear(2, 2), Lost(3))
    assert torch.equal(fresh["1.token"], twin[1].token)  # type: ignore[arg-type]


def test_a_convnext_block_is_drawn_by_a_factory() -> None:
    def make() -> nn.Module:
        model: nn.Module = timm.create_model("convnext_atto", depths=(1, 1, 1, 1))
        return model

    got = drawn(make(), "stages.1.blocks.0", factory=make)
    with seeded(own_seed(0, "stages.1.blocks.0")):
        twin = dict(make().named_parameters())
    for name, tensor in twin.items():
        if name.startswith("stages.1.blocks.0."):
            assert torch.equal(got[name], tensor)


def test_the_note_says_which_way_it_was() -> None:
    timm_model = timm.create_model("convnext_atto", num_classes=3)
    wrapped = nn.ModuleDict({"backbone": timm_model})
    layer = nn.Sequential(nn.Linear(2, 2))
    swin = timm.create_model("swin_tiny_patch4_window7_224", img_size=56)
    ways = {
        "as timm builds the model": (wrapped, "backbone.stages.0"),
        "by reset_parameters(), the layers' default": (layer, "0"),
        "by SwinTransformer.init_weights()": (swin, "layers.0"),
    }
    for note, (model, target) in ways.items():
        with surgery.ablate(model, target, "reinit") as op:
            pass
        assert [row.note for row in op.effect()] == [note]


def test_a_factory_for_another_architecture_is_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    wide = surgery.ops.Reinit(factory=lambda: nn.Sequential(nn.Linear(2, 3)))
    with pytest.raises(ShapeMismatchError, match="same architecture"):
        surgery.ablate(model, "0", wide)
    other = surgery.ops.Reinit(factory=lambda: nn.Linear(2, 2))
    with pytest.raises(OperationError, match=r"has nothing for 0\.bias, 0\.weight"):
        surgery.ablate(model, "0", other)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_models_keep_their_type(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(dtype)
    got = drawn(model, "0")["0.weight"]
    assert got.dtype == dtype and 0.05 < float(got.detach().float().std()) < 0.2


def test_rewind_takes_the_values_of_an_earlier_state() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    earlier = {k: v.clone() for k, v in model.state_dict().items()}
    model(torch.randn(4, 3))
    with torch.no_grad():
        model[0].weight.fill_(3.0)  # type: ignore[operator]
    later = {k: v.clone() for k, v in model.state_dict().items()}
    with surgery.ablate(model, ["0", "1"], surgery.ops.Rewind(earlier)) as op:
        assert all(torch.equal(v, earlier[k]) for k, v in model.state_dict().items())
        assert all(row.changed for row in op.effect(strict=True))
    assert all(torch.equal(v, later[k]) for k, v in model.state_dict().items())


def test_the_global_generators_are_neither_advanced_nor_reset() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    torch.manual_seed(11)
    wanted = torch.rand(1)
    torch.manual_seed(11)
    with surgery.ablate(model, "0", "reinit"):
        assert torch.equal(torch.rand(1), wanted)
