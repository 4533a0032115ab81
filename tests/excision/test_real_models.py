"""Excised models against the reversible operation, part by part, on real models."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

import surgery
from surgery.excision import Excision
from tests.excision.models import example, outputs, real_model

DATA = (torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(9)),)

# Model, target, mode, how it is done.
CASES = [
    ("resnet18", "layer1.0.conv1", "zero", "swapped"),
    ("resnet18", "layer2.0", "identity", "swapped"),
    ("resnet18", "layer1.0.bn1", "identity", "swapped"),
    ("resnet18", "layer3.0", "mean", "swapped"),
    ("resnet18", "layer2", "constant", "swapped"),
    ("resnet18", "layer1.0:branch", "zero", "rewritten"),
    ("resnet18", "layer1.0:skip", "zero", "rewritten"),
    ("resnet18", "layer2.0:skip", "zero", "rewritten"),
    ("resnet18", "layer1.1:branch", "identity", "rewritten"),
    ("resnet18", "layer2.0:skip", "identity", "rewritten"),
    ("resnet18", "layer1.*:branch", "mean", "rewritten"),
    ("resnet18", "layer1.0:branch", "noise", "cut built in"),
    ("resnet18", "layer1.0.bn1:channel#0-1", "zero", "shrunk"),
    ("resnet18", "layer1.0.bn2:channel#0-1", "zero", "zeroed"),
    ("resnet18", "layer1.0.bn1", "reinit", "values set"),
    ("resnet18", "layer1.0", "freeze", "frozen"),
    ("resnet18", "layer1.0.bn1.weight", "zero", "values set"),
    ("resnet18", "input:channel#1", "zero", "cut built in"),
    ("resnet50", "layer1.0:branch", "zero", "rewritten"),
    ("resnet50", "layer2.0:skip", "mean", "rewritten"),
    ("vit_tiny_patch16_224", "blocks.0:branch#1", "zero", "rewritten"),
    ("vit_tiny_patch16_224", "blocks.1:skip#0", "zero", "rewritten"),
    ("vit_tiny_patch16_224", "blocks.0", "identity", "swapped"),
    ("vit_tiny_patch16_224", "patch_embed", "zero", "swapped"),
    ("vit_tiny_patch16_224", "blocks.0.attn:head#1", "zero", "shrunk"),
    ("vit_tiny_patch16_224", "blocks.0.attn:head#1", "mean", "cut built in"),
    ("vit_tiny_patch16_224", "blocks.0.mlp.fc1:channel#2-5", "zero", "shrunk"),
    ("vit_tiny_patch16_224", ":cat#0.arg0", "zero", "cut built in"),
    ("swin_tiny_patch4_window7_224", "layers.0.blocks.1:branch", "zero", "rewritten"),
    ("swin_tiny_patch4_window7_224", "layers.0.blocks.0.attn", "zero", "swapped"),
    ("swin_tiny_patch4_window7_224", "layers.1.downsample", "identity", "swapped"),
    ("swin_tiny_patch4_window7_224", "layers.0.blocks.1.attn:head#0", "zero", "shrunk"),
    ("swin_tiny_patch4_window7_224", "layers.0.blocks.1:roll#0", "zero", "rewritten"),
    ("convnext_atto", "stages.0.blocks.0:branch", "zero", "rewritten"),
    ("convnext_atto", "stages.0.blocks.0:gate", "constant", "rewritten"),
    ("convnext_atto", "stages.1", "identity", "swapped"),
    ("convnext_atto", "stages.0.blocks.0.conv_dw", "zero", "swapped"),
    ("densenet121", "features.denseblock1:cat#0.arg1", "zero", "rewritten"),
    ("densenet121", "features.denseblock1.denselayer2", "zero", "swapped"),
    ("densenet121", "features.transition1", "identity", "swapped"),
    ("mobilenetv3_small_050", "blocks.1.1:branch", "zero", "rewritten"),
    ("mobilenetv3_small_050", "blocks.0.0.se:gate", "zero", "rewritten"),
    ("gpt2", "transformer.h.0:branch#0", "zero", "rewritten"),
    ("gpt2", "transformer.h.0:skip#1", "zero", "rewritten"),
    ("gpt2", "transformer.h.1.mlp", "zero", "swapped"),
    ("gpt2", "transformer.h.0", "identity", "swapped"),
    ("gpt2", "transformer.h.0.attn", "zero", "cut built in"),
    ("gpt2", "transformer.h.0.attn:head#1", "zero", "shrunk"),
    ("gpt2", "transformer.h.1.mlp.c_fc:channel#3", "zero", "shrunk"),
    ("gpt2", "transformer.h.0.mlp.act:tanh#0", "zero", "rewritten"),
]


@pytest.mark.parametrize(("name", "target", "mode", "how"), CASES)
def test_an_excised_model_gives_what_the_ablated_one_gives(
    name: str, target: str, mode: str, how: str
) -> None:
    model = real_model(name)
    x, other = example(name)
    data = (DATA[0], torch.zeros(6)) if mode == "mean" else None
    before = {key: value.clone() for key, value in model.state_dict().items()}
    plain = outputs(model, x)

    excised = surgery.excise(model, target, mode, inputs=x, data=data)

    report = excised.excision
    assert isinstance(report, Excision)
    assert {row.how for row in report} == {how}
    for given in (x, other):
        with surgery.ablate(model, target, mode, inputs=x, data=data):
            wanted = outputs(model, given)
        same_as(outputs(copy.deepcopy(excised), given), wanted, exactly=how != "shrunk")
    assert mode == "freeze" or not torch.equal(wanted, outputs(model, other))
    assert torch.equal(outputs(model, x), plain)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


def same_as(found: Tensor, wanted: Tensor, *, exactly: bool) -> None:
    torch.testing.assert_close(
        found, wanted, rtol=0 if exactly else 1e-4, atol=0 if exactly else 1e-5
    )


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("resnet18", "layer1.0:branch"),
        ("vit_tiny_patch16_224", "blocks.*:branch"),
        ("gpt2", "transformer.h.0:branch#1"),
    ],
)
def test_what_became_dead_is_gone_and_the_rest_keeps_its_names(
    name: str, target: str
) -> None:
    model = real_model(name)
    excised = surgery.excise(model, target, inputs=example(name)[0])
    old, new = model.state_dict(), excised.state_dict()
    assert set(new) < set(old)
    assert all(torch.equal(new[key], old[key]) for key in new)
    lost = sum(p.numel() for p in model.parameters()) - sum(
        p.numel() for p in excised.parameters()
    )
    report = excised.excision
    assert isinstance(report, Excision)
    assert lost == sum(row.removed for row in report) > 0
    assert report.parameters[0] - report.parameters[1] == lost


def test_an_attention_that_fills_a_cache_stays() -> None:
    model = real_model("gpt2")
    x, other = example("gpt2")
    given = {"use_cache": True}
    excised = surgery.excise(model, "transformer.h.0:branch#0", inputs=x, kwargs=given)
    assert "cache" in str(excised.excision)
    generate: dict[str, Any] = {
        "max_new_tokens": 4,
        "do_sample": False,
        "use_cache": True,
    }
    generate |= {"attention_mask": torch.ones(3, 3)}
    with surgery.ablate(model, "transformer.h.0:branch#0", inputs=x):
        wanted = model.generate(other[:, :3], **generate)  # type: ignore[operator]
    assert torch.equal(excised.generate(other[:, :3], **generate), wanted)  # type: ignore[operator]


def test_a_block_that_is_gone_says_that_it_cannot_fill_a_cache() -> None:
    model = real_model("gpt2")
    x, _ = example("gpt2")
    excised = surgery.excise(model, "transformer.h.0", "identity", inputs=x)
    with pytest.raises(surgery.errors.ShapeMismatchError, match="use_cache=False"):
        excised(x, use_cache=True)
