"""Activation checkpointing: values and gradients under a cut are those by hand."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import surgery
from benchmarks.conformance.shake import shake
from surgery.errors import BackendError
from tests.awkward.model import CUTS, Net, batch, net


class Checkpointed(Net):
    """Runs its block again in backward."""

    reentrant = False

    def forward(self, x: Tensor) -> Tensor:
        y: Any = checkpoint(self.block, self.stem(x), use_reentrant=self.reentrant)
        out: Tensor = self.head(y)
        return out


def grads(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Gradients by name, zeros where there are none."""
    model.zero_grad()
    out: Any = model(x)
    (out if isinstance(out, Tensor) else out.logits).square().mean().backward()
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in model.named_parameters()
    }


ENABLE = "activation_checkpointing_enable"  # as transformers calls it from 5 on


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning")
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("column", CUTS)
def test_gradients_under_a_cut_are_those_by_hand(
    column: str, known: bool, reentrant: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, owner, by_hand = CUTS[column]
    plain, model = net(), net()
    before = grads(model, batch())
    model.__class__ = Checkpointed
    monkeypatch.setattr(Checkpointed, "reentrant", reentrant)
    inputs = batch() if known else None
    with surgery.ablate(model, target, inputs=inputs):
        got = grads(model, batch())
    restored = grads(model, batch())
    monkeypatch.setattr(owner, "forward", by_hand)
    right = grads(plain, batch())
    for name, grad in right.items():
        torch.testing.assert_close(got[name], grad)
        torch.testing.assert_close(restored[name], before[name])
    assert any(not torch.allclose(got[name], before[name]) for name in got)


def vit() -> Any:
    return timm.create_model("test_vit", num_classes=3, img_size=32)


def gpt2() -> Any:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=99, n_positions=16, n_embd=32, n_layer=2, n_head=4
    )
    return transformers.GPT2LMHeadModel(config)


@pytest.mark.parametrize(
    ("make", "target"),
    [
        (vit, "blocks.1:branch#0"),
        (vit, "blocks.0:skip#1"),
        (vit, "blocks.1.attn:head#0"),
        (vit, "blocks.1.mlp"),
        (gpt2, "transformer.h.1.attn:head#2"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*use_cache:UserWarning")
def test_the_checkpointing_of_timm_and_transformers_changes_nothing(
    make: Any, target: str
) -> None:
    torch.manual_seed(0)
    model = make()
    shake(model, seed=1)
    x = torch.randn(2, 3, 32, 32) if make is vit else torch.randint(5, 99, (2, 7))
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    with surgery.ablate(model, target, inputs=x):
        right = grads(model, x)
        if make is vit:
            model.set_grad_checkpointing()
        else:
            getattr(model, ENABLE, model.gradient_checkpointing_enable)()
        got = grads(model, x)
    for name, grad in right.items():
        torch.testing.assert_close(got[name], grad)


@pytest.mark.filterwarnings("ignore:.*use_cache:UserWarning")
def test_a_block_that_checkpoints_its_own_forward_is_refused_by_name() -> None:
    torch.manual_seed(0)
    model, x = gpt2(), torch.randint(5, 99, (2, 7))
    model.train()
    getattr(model, ENABLE, model.gradient_checkpointing_enable)()
    with pytest.raises(BackendError, match=r"h\.0:branch#1 is reached inside"):
        with surgery.ablate(model, "transformer.h.0:branch#1"):
            model(x)
