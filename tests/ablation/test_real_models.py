"""A trained kind of ResNet and Swin against forwards edited by hand."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import surgery

X = torch.randn(5, 3, 56, 56, generator=torch.Generator().manual_seed(0))


def shaken(model: nn.Module) -> nn.Module:
    """Zero and tiny parameters made to matter: else nothing is proved."""
    torch.manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            if p.std() < 1e-3 or p.numel() == 1:
                p.add_(torch.randn_like(p) * 0.2)
    return model.eval()


def swin() -> Any:
    return shaken(
        timm.create_model(
            "swin_tiny_patch4_window7_224",
            depths=(2, 2),
            embed_dim=12,
            num_heads=(1, 2),
            img_size=56,
            num_classes=3,
        )
    )


def resnet() -> Any:
    return shaken(timm.create_model("resnet18", num_classes=3))


def edited(y: Tensor, x: Tensor, mode: str) -> Tensor:
    if mode == "zero":
        return torch.zeros_like(y)
    if mode == "mean":
        return y.mean(0, keepdim=True).expand_as(y)
    return x


@pytest.mark.parametrize("mode", ["zero", "identity", "mean"])
@torch.no_grad()
def test_a_block_of_a_resnet_is_a_forward_edited_by_hand(mode: str) -> None:
    model = resnet()
    x = model.maxpool(model.act1(model.bn1(model.conv1(X))))
    x = model.layer3[0](model.layer2(model.layer1(x)))
    x = edited(model.layer3[1](x), x, mode)
    wanted = model.forward_head(model.layer4(x))
    plain = model(X)
    data = [(X[:2], None), (X[2:], None)] if mode == "mean" else None
    with surgery.ablate(model, "layer3.1", mode, data=data):
        torch.testing.assert_close(model(X), wanted, rtol=1e-5, atol=1e-6)
    assert torch.equal(model(X), plain) and not torch.equal(wanted, plain)


@pytest.mark.parametrize("mode", ["zero", "identity", "mean"])
@torch.no_grad()
def test_a_stage_of_a_swin_is_a_forward_edited_by_hand(mode: str) -> None:
    model = swin()
    x = model.layers[0](model.patch_embed(X))
    y = model.layers[1](x)
    # Identity: pooled to half the side, channels padded with zeros.
    pooled = x.view(5, 7, 2, 7, 2, 12).mean((2, 4))
    stand_in = torch.cat([pooled, torch.zeros_like(pooled)], 3)
    wanted = model.forward_head(model.norm(edited(y, stand_in, mode)))
    plain = model(X)
    data = [(X[:2], None), (X[2:], None)] if mode == "mean" else None
    with surgery.ablate(model, "layers.1", mode, data=data) as op:
        torch.testing.assert_close(model(X), wanted, rtol=1e-5, atol=1e-6)
        note = next(iter(op.effect())).note
    expected = "adapter: pool space (channels last)" if mode == "identity" else ""
    assert note == expected
    assert torch.equal(model(X), plain) and not torch.equal(wanted, plain)


@pytest.mark.parametrize("make", [resnet, swin])
def test_every_called_module_obeys_and_comes_back_bitwise(make: Any) -> None:
    model = make()
    modes = ["zero", "identity", "noise", "resample", "reinit", "freeze"]
    with torch.no_grad():
        plain = model(X)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    for place, part in enumerate(surgery.components(model, X, kinds=("module",))):
        facts = part.facts
        if facts is None or not facts.calls:
            continue
        mode = modes[place % len(modes)]
        if mode in ("reinit", "freeze") and not facts.parameters:
            mode = "zero"
        if mode == "identity" and facts.identity == "no":
            mode = "zero"
        with torch.no_grad(), surgery.ablate(model, part, mode) as op:
            assert bool(model(X).isfinite().all())
            assert all(row.fired for row in op.effect(strict=True)), part
        with torch.no_grad():
            assert torch.equal(model(X), plain), (part, mode)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
