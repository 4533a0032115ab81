"""`ablate` equals forwards edited by hand, bit for bit.

Every forward below is written out module by module, as the model's own code runs it,
with one place at which the output of a chosen part is replaced.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import surgery
from benchmarks.conformance.modes.models import Probe, make
from benchmarks.conformance.shake import shake

Edit = Callable[[Any, Tensor], Tensor]  # (what went in, what came out) -> instead


@dataclass(frozen=True)
class At:
    """One part of a model, and what to put in the place of its output."""

    part: nn.Module
    edit: Edit

    def __call__(self, module: nn.Module, x: Any, *args: Any) -> Any:
        """Run a module; if it is the part, give what stands instead."""
        given = x.clone() if isinstance(x, Tensor) else [y.clone() for y in x]
        out = module(x, *args)
        out = out[0] if isinstance(out, tuple) else out
        return self.edit(given, out) if module is self.part else out


def resnet(m: Any, at: At, x: Tensor) -> Tensor:
    x = m.maxpool(m.act1(m.bn1(m.conv1(x))))
    for stage in (m.layer1, m.layer2, m.layer3, m.layer4):
        for block in stage:
            x = at(block, x)
    return m.fc(m.global_pool(x))  # type: ignore[no-any-return]


def swin(m: Any, at: At, x: Tensor) -> Tensor:
    x = m.patch_embed(x)
    for stage in m.layers:
        x = at(stage, x)
    return m.head(m.norm(x))  # type: ignore[no-any-return]


def vit(m: Any, at: At, x: Tensor) -> Tensor:
    x = m.patch_embed(x)
    x = torch.cat([m.cls_token.expand(len(x), -1, -1), x], dim=1) + m.pos_embed
    for block in m.blocks:
        x = at(block, x)
    return m.head(m.norm(x)[:, 0])  # type: ignore[no-any-return]


def convnext(m: Any, at: At, x: Tensor) -> Tensor:
    x = m.stem(x)
    for stage in m.stages:
        x = stage.downsample(x)
        for block in stage.blocks:
            x = at(block, x)
    return m.head(x)  # type: ignore[no-any-return]


def densenet(m: Any, at: At, x: Tensor) -> Tensor:
    f = m.features
    x = f.pool0(f.norm0(f.conv0(x)))
    for k in (1, 2, 3, 4):
        grown = [x]
        for layer in getattr(f, f"denseblock{k}").values():
            grown.append(at(layer, grown))
        x = torch.cat(grown, 1)
        if k < 4:
            x = getattr(f, f"transition{k}")(x)
    return m.classifier(m.global_pool(f.norm5(x)))  # type: ignore[no-any-return]


def efficientnet(m: Any, at: At, x: Tensor) -> Tensor:
    x = m.bn1(m.conv_stem(x))
    for stage in m.blocks:
        for block in stage:
            x = at(block, x)
    return m.classifier(m.global_pool(m.bn2(m.conv_head(x))))  # type: ignore[no-any-return]


def mixer(m: Any, at: At, x: Tensor) -> Tensor:
    x = m.stem(x)
    for block in m.blocks:
        x = at(block, x)
    return m.head(m.norm(x).mean(dim=1))  # type: ignore[no-any-return]


def gpt2(m: Any, at: At, input_ids: Tensor) -> Tensor:
    t = m.transformer
    x = t.wte(input_ids) + t.wpe(torch.arange(input_ids.shape[1])[None])
    for block in t.h:
        x = at(block, x)
    return m.lm_head(t.ln_f(x))  # type: ignore[no-any-return]


def bert(m: Any, at: At, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    x = m.bert.embeddings(input_ids)
    tokens = input_ids.shape[1]
    mask = attention_mask.bool()[:, None, None, :].expand(-1, 1, tokens, -1)
    for layer in m.bert.encoder.layer:
        x = at(layer, x, mask)
    return m.classifier(m.bert.pooler(x))  # type: ignore[no-any-return]


def hf_vit(m: Any, at: At, pixel_values: Tensor) -> Tensor:
    x = m.vit.embeddings(pixel_values)
    layers = m.vit.layers if hasattr(m.vit, "layers") else m.vit.encoder.layer
    for layer in layers:
        x = at(layer, x)
    return m.classifier(m.vit.layernorm(x)[:, 0, :])  # type: ignore[no-any-return]


def same(x: Any, y: Tensor) -> Tensor:
    assert isinstance(x, Tensor) and x.shape == y.shape
    return x


def halved_space_padded_channels(x: Any, y: Tensor) -> Tensor:
    """(B, 2H, 2W, C) to (B, H, W, 2C): average each 2 x 2, zeros for new channels."""
    pooled = F.adaptive_avg_pool2d(x.permute(0, 3, 1, 2), (y.shape[1], y.shape[2]))
    pooled = pooled.permute(0, 2, 3, 1)
    batch, height, width, channels = x.shape
    cells = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    torch.testing.assert_close(pooled, cells.mean((2, 4)))
    return torch.cat([pooled, torch.zeros_like(pooled)], -1)


def first_of_the_output_shape(x: Any, y: Tensor) -> Tensor:
    """Of the features a dense layer takes, the first one that fits as it is."""
    parts: list[Tensor] = list(x)
    return next(part for part in parts if part.shape == y.shape)


@dataclass(frozen=True)
class Case:
    """A part of a model, the model's forward by hand, and what identity means."""

    model: str
    target: str
    by_hand: Callable[..., Tensor]
    identity: Edit = same


CASES = [
    Case("resnet18", "layer3.1", resnet),
    Case("resnet50", "layer3.1", resnet),
    Case("swin_tiny_patch4_window7_224", "layers.0", swin),
    Case(
        "swin_tiny_patch4_window7_224", "layers.2", swin, halved_space_padded_channels
    ),
    Case("vit_tiny_patch16_224", "blocks.5", vit),
    Case("convnext_atto", "stages.2.blocks.3", convnext),
    Case(
        "densenet121",
        "features.denseblock2.denselayer3",
        densenet,
        first_of_the_output_shape,
    ),
    Case("efficientnet_b0", "blocks.2.1", efficientnet),
    Case("mixer_s32_224", "blocks.3", mixer),
    Case("hf_gpt2", "transformer.h.1", gpt2),
    Case("hf_bert", "bert.encoder.layer.0", bert),
    Case("hf_vit", "vit.layers.1", hf_vit),
]
IDS = [f"{case.model}-{case.target}" for case in CASES]


@cache
def probe_of(name: str) -> Probe:
    probe = make(name)
    shake(probe.model, seed=1)
    return probe


def batches(probe: Probe) -> list[Any]:
    """Three batches of two, two and one samples, with labels."""
    torch.manual_seed(7)
    fields = dict(probe.kwargs) or {"x": probe.args[0]}
    found: list[Any] = []
    for size in (2, 2, 1):
        drawn = {k: draw_like(v)[:size] for k, v in fields.items()}
        labels = torch.zeros(size, dtype=torch.long)
        if probe.kwargs:
            found.append({**drawn, "labels": labels})
        else:
            found.append((drawn["x"], labels))
    return found


def draw_like(x: Tensor) -> Tensor:
    if x.is_floating_point():
        return torch.randn(x.shape)
    return x if int(x.max()) <= 1 else torch.randint(5, 99, x.shape)


def inputs_of(batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(batch, Mapping):
        return (), {k: v for k, v in batch.items() if k != "labels"}
    return (batch[0],), {}


def main(output: Any) -> Tensor:
    logits: Tensor = output if isinstance(output, Tensor) else output.logits
    return logits


def untouched(x: Any, y: Tensor) -> Tensor:
    return y


def run_by_hand(case: Case, probe: Probe, edit: Edit) -> Tensor:
    at = At(probe.model.get_submodule(case.target), edit)
    with torch.no_grad():
        return case.by_hand(probe.model, at, *probe.args, **probe.kwargs)


def run(probe: Probe) -> Tensor:
    with torch.no_grad():
        return main(probe.model(*probe.args, **probe.kwargs))


def mean_by_hand(case: Case, probe: Probe, data: Iterable[Any]) -> Tensor:
    """The part's output, averaged over all samples of `data`."""
    part = probe.model.get_submodule(case.target)
    total, count = torch.zeros((), dtype=torch.float64), 0

    def add(x: Any, y: Tensor) -> Tensor:
        nonlocal total, count
        total = total + y.double().sum(0)
        count += len(y)
        return y

    with torch.no_grad():
        for batch in data:
            args, kwargs = inputs_of(batch)
            case.by_hand(probe.model, At(part, add), *args, **kwargs)
    return (total / count).float()


def bits(x: Tensor) -> Tensor:
    return x.view(torch.int32)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_forward_by_hand_is_the_models_own(case: Case) -> None:
    probe = probe_of(case.model)
    assert torch.equal(bits(run_by_hand(case, probe, untouched)), bits(run(probe)))


@pytest.mark.parametrize("case", CASES, ids=IDS)
@pytest.mark.parametrize("mode", ["zero", "identity", "mean"])
def test_ablate_equals_a_forward_edited_by_hand(case: Case, mode: str) -> None:
    probe = probe_of(case.model)
    before = run(probe)
    data = batches(probe) if mode == "mean" else None
    edit: Edit = case.identity
    if mode == "zero":
        edit = lambda x, y: torch.zeros_like(y)  # noqa: E731  # read beside the others
    elif mode == "mean":
        mean = mean_by_hand(case, probe, batches(probe))
        edit = lambda x, y: mean.expand_as(y).clone()  # noqa: E731
    edited = run_by_hand(case, probe, edit)
    assert not torch.equal(edited, before)
    with surgery.ablate(probe.model, case.target, mode, data=data):
        assert torch.equal(bits(run(probe)), bits(edited))
    assert torch.equal(bits(run(probe)), bits(before))


def test_the_swin_of_the_zoo_has_real_shifted_windows() -> None:
    model: Any = probe_of("swin_tiny_patch4_window7_224").model
    shifts = [block.shift_size for stage in model.layers for block in stage.blocks]
    assert shifts.count((2, 2)) == 2


@pytest.mark.parametrize("case", CASES[:4], ids=IDS[:4])
def test_gradients_through_an_ablation_are_those_of_the_forward_edited_by_hand(
    case: Case,
) -> None:
    probe = probe_of(case.model)
    model = probe.model
    at = At(model.get_submodule(case.target), lambda x, y: torch.zeros_like(y))
    loss = case.by_hand(model, at, *probe.args, **probe.kwargs).square().sum()
    parameters = list(model.parameters())
    by_hand = torch.autograd.grad(loss, parameters, allow_unused=True)
    with surgery.ablate(model, case.target):
        loss = main(model(*probe.args, **probe.kwargs)).square().sum()
        grads = torch.autograd.grad(loss, parameters, allow_unused=True)
    assert any(g is None for g in grads) and any(g is not None for g in grads)
    for ours, theirs in zip(grads, by_hand, strict=True):
        assert (ours is None) == (theirs is None)
        assert ours is None or theirs is None or torch.equal(ours, theirs)
