"""What holds for an excised model: copies, pickles, states, training, graphs."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import nn

import surgery
from tests.excision.models import IMAGES, OTHERS, outputs, real_model

# One for each means.
CASES = [
    ("resnet18", "layer1.0.conv1", "zero"),
    ("resnet18", "layer1.0:branch", "zero"),
    ("resnet18", "layer2.0", "resample"),
    ("vit_tiny_patch16_224", "blocks.0:branch#0", "zero"),
    ("vit_tiny_patch16_224", "blocks.0.attn:head#1", "zero"),
    ("vit_tiny_patch16_224", ":cat#0.arg0", "zero"),
    ("vit_tiny_patch16_224", "blocks.0.attn", "mean"),
]
CHANGES = pytest.mark.parametrize(("name", "target", "mode"), CASES)
SURE = pytest.mark.parametrize(
    ("name", "target", "mode"), [case for case in CASES if case[2] != "resample"]
)


def excised(name: str, target: str, mode: str) -> nn.Module:
    data = (OTHERS, torch.zeros(3)) if mode == "mean" else None
    return surgery.excise(real_model(name), target, mode, inputs=IMAGES, data=data)


@CHANGES
def test_copies_and_pickles_give_the_same(name: str, target: str, mode: str) -> None:
    model = excised(name, target, mode)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    copied = copy.deepcopy(model)
    loaded: nn.Module = torch.load(file, weights_only=False)
    twice = copy.deepcopy(loaded)
    wanted = outputs(model, IMAGES)
    for other in (copied, loaded, twice):
        assert torch.equal(outputs(other, IMAGES), wanted)
        assert set(other.state_dict()) == set(model.state_dict())
        assert str(other.excision) == str(model.excision)


@SURE
def test_a_state_dict_makes_another_one_equal(
    name: str, target: str, mode: str
) -> None:
    model, other = excised(name, target, mode), excised(name, target, mode)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    assert not torch.equal(outputs(other, IMAGES), outputs(model, IMAGES))
    other.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(outputs(other, IMAGES), outputs(model, IMAGES))


@CHANGES
def test_it_trains(name: str, target: str, mode: str) -> None:
    model = excised(name, target, mode).train()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss: torch.Tensor = model(IMAGES).square().mean()
        loss.backward()
        optimizer.step()
    moved = [
        not torch.equal(old, new)
        for old, new in zip(before, model.parameters(), strict=True)
    ]
    assert sum(moved) > len(moved) / 2


def test_dropout_and_drop_path_follow_train() -> None:
    model = excised("vit_tiny_patch16_224", "blocks.1:branch#0", "zero")
    assert torch.equal(outputs(model, IMAGES), outputs(model, IMAGES))
    model.train()
    assert not torch.equal(outputs(model, IMAGES), outputs(model, IMAGES))
    model.eval()
    assert torch.equal(outputs(model, IMAGES), outputs(model, IMAGES))


@SURE
def test_it_compiles_as_one_graph(name: str, target: str, mode: str) -> None:
    model = excised(name, target, mode)
    compiled: Any = torch.compile(model, fullgraph=True, backend="eager")
    assert torch.equal(outputs(compiled, IMAGES), outputs(model, IMAGES))
    torch._dynamo.reset()


@SURE
def test_it_exports(name: str, target: str, mode: str) -> None:
    model = excised(name, target, mode)
    program = torch.export.export(model, (IMAGES,))
    assert torch.equal(outputs(program.module(), IMAGES), outputs(model, IMAGES))


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("resnet18", "layer1.0:branch"),
        ("resnet18", "layer1.0.conv1"),
        ("vit_tiny_patch16_224", "blocks.0:branch"),
        ("vit_tiny_patch16_224", "blocks.0.attn:head#1"),
    ],
)
def test_it_is_built_and_checked_in_train_mode_too(name: str, target: str) -> None:
    model = real_model(name).train()
    x = torch.cat([IMAGES, OTHERS])
    buffers = [b.clone() for b in model.buffers()]
    made = surgery.excise(model, target, inputs=x)
    assert made.training and all(m.training for m in made.modules())
    assert "cut" not in str(made.excision)
    assert all(map(torch.equal, buffers, model.buffers()))
    model.eval()
    made.eval()
    with surgery.ablate(model, target, inputs=x):
        wanted = outputs(model, x)
    assert torch.equal(outputs(made, x), wanted)


def test_methods_of_the_model_survive() -> None:
    made: Any = excised("resnet18", "layer1.0:branch", "zero")
    features = made.forward_features(IMAGES)
    assert torch.equal(made.forward_head(features), made(IMAGES))


def test_an_excised_model_can_be_excised_again() -> None:
    once = excised("resnet18", "layer1.0:branch", "zero")
    twice = surgery.excise(once, "layer1.1:branch", inputs=IMAGES)
    model = real_model("resnet18")
    with surgery.ablate(model, ["layer1.0:branch", "layer1.1:branch"]):
        wanted = outputs(model, IMAGES)
    assert torch.equal(outputs(twice, IMAGES), wanted)
    report = twice.excision
    assert isinstance(report, surgery.Excision)
    assert [row.component for row in report] == ["layer1.0:branch", "layer1.1:branch"]
