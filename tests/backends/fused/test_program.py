"""The fused program against forwards of each variant, on real models and hard cases."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from surgery.errors import BackendError
from tests.backends.fused.sweeping import Sweep, differing, equal, error
from tests.excision.models import example, real_model

CASES: list[tuple[str, list[Any], str]] = [
    ("resnet18", ["layer*.*:branch", "layer*.*:skip", "layer*.*"], "zero"),
    ("resnet18", ["layer*.*:branch", "layer2", "layer1.0.conv1"], "identity"),
    ("resnet18", ["layer*.*.conv1", "bn1", "fc"], "reinit"),
    ("resnet18", ["layer*.*.bn1.weight", "layer1.0"], "zero"),
    ("resnet18", ["layer*.*.bn2", ["layer1.0", "layer3.0:branch"]], "resample"),
    ("resnet18", ["layer1.0.bn1:channel#0-1", "input:channel#1"], "zero"),
    ("resnet50", ["layer*.*:branch", "layer*.*:skip"], "zero"),
    ("vit_tiny_patch16_224", ["blocks.*:branch", "blocks.*.attn:head#*"], "zero"),
    ("vit_tiny_patch16_224", ["blocks.*.mlp", "blocks.*.norm1", "head"], "noise"),
    ("swin_tiny_patch4_window7_224", ["layers.*.blocks.*:branch"], "zero"),
    ("swin_tiny_patch4_window7_224", ["layers.*.blocks.*.attn:head#*"], "zero"),
    ("convnext_atto", ["stages.*.blocks.*:branch"], "zero"),
    ("densenet121", ["features.**"], "zero"),
    ("mobilenetv3_small_050", ["blocks.*.*", "blocks.*.*:skip"], "zero"),
    ("gpt2", ["transformer.h.*:branch", "transformer.h.*.attn:head#*"], "zero"),
    ("gpt2", ["transformer.h.*", "transformer.wte"], "resample"),
]


def _named(place: int) -> str:
    name, _, mode = CASES[place]
    return f"{name}-{mode}-{place}"


@cache
def swept(place: int) -> tuple[Sweep, list[list[Tensor]]]:
    """A case, and its variants by forwards of their own."""
    name, targets, mode = CASES[place]
    sweep = Sweep(real_model(name), (example(name)[0],), targets, mode)
    return sweep, sweep.alone()


@pytest.mark.parametrize("place", range(len(CASES)), ids=_named)
def test_variants_one_after_the_other_are_bitwise_their_own_forwards(
    place: int,
) -> None:
    sweep, alone = swept(place)
    assert equal(alone, sweep.fused(1))
    assert differing(alone) > len(sweep.variants) / 2


@pytest.mark.parametrize("place", range(len(CASES)), ids=_named)
def test_stacked_variants_agree_with_their_own_forwards(place: int) -> None:
    sweep, alone = swept(place)
    assert error(alone, sweep.fused(3)) <= 1e-5
    assert error(alone, sweep.fused(len(sweep.variants))) <= 1e-5


@pytest.mark.parametrize("place", range(len(CASES)), ids=_named)
def test_a_baseline_among_the_variants_agrees_and_so_does_another_layout(
    place: int,
) -> None:
    sweep, alone = swept(place)
    found = sweep.fused(len(sweep.variants), joined=True, channels_last=True)
    assert error(alone, found) <= 1e-5


def test_a_baseline_among_the_variants_takes_no_calls_of_its_own() -> None:
    sweep, _ = swept(0)
    every = len(sweep.variants)
    apart, joined = sweep.program(every), sweep.program(every, joined=True)
    convolution = torch.ops.aten.conv2d.default
    nodes = [node for node in sweep.marked.nodes if node.target is convolution]
    calls = [
        sum(step.function is convolution for step in program.tape.steps)
        for program in (apart, joined)
    ]
    assert calls[1] == len(nodes) < calls[0]
    assert joined.calls == apart.calls


def test_convolutions_channels_last_have_the_models_weights_laid_out_once() -> None:
    sweep, _ = swept(0)
    layout = sweep.plan.channels_last
    kernels = [p for p in sweep.model.parameters() if p.ndim == 4]
    assert layout.changes
    assert layout.nbytes == sum(p.nbytes for p in kernels if p.shape[2:] != (1, 1))
    one = sweep.program(1, channels_last=True)
    two = sweep.program(2, channels_last=True)
    found = [
        {id(x) for x in program.tape.held.values() if x.ndim == 4}
        for program in (one, two)
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("stack", [1, 4])
def test_a_program_is_made_for_a_batch_of_another_size(stack: int) -> None:
    sweep = Sweep(
        real_model("resnet18"), (example("resnet18")[0],), ["layer*.*:branch"]
    )
    other = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(7))
    assert error(sweep.alone(other), sweep.fused(stack, other)) <= 1e-6


def test_a_dial_goes_part_of_the_way() -> None:
    sweep = Sweep(
        real_model("resnet18"), (example("resnet18")[0],), ["layer*.*"], dial=0.3
    )
    assert equal(sweep.alone(), sweep.fused(1))


def test_nothing_is_computed_twice() -> None:
    model, (x, _) = real_model("resnet18"), example("resnet18")
    sweep = Sweep(model, (x,), [f"layer{i}.{j}:branch" for i in (1, 2) for j in (0, 1)])
    least = least_flops(sweep)
    for stack in (1, 2, 4):
        with FlopCounterMode(display=False) as counter:
            sweep.fused(stack)
        assert counter.get_total_flops() == least


def least_flops(sweep: Sweep) -> int:
    """Of the baseline, and of what comes after each component, counted by hand."""
    per_module: dict[str, int] = {}
    for name, module in sweep.model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            per_module[name] = 0
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        sweep.model(*sweep.args)
    counts = counter.get_flop_counts()
    root = type(sweep.model).__name__
    for name in per_module:
        per_module[name] = sum(counts[f"{root}.{name}"].values())
    order = list(per_module)
    total = sum(per_module.values())
    for component in sweep.names:
        block = component.partition(":")[0]
        last = max(i for i, name in enumerate(order) if name.startswith(f"{block}."))
        total += sum(per_module[name] for name in order[last + 1 :])
    return total


class Awkward(nn.Module):
    """Tuples, writing in place, a module used twice, views of the batch, two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(6, 6)
        self.two = nn.Linear(6, 6)
        self.act = nn.ReLU(inplace=True)
        self.pair = Pair()
        self.last = nn.Linear(6, 3)

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Any]:
        a = self.act(self.one(x))
        a += self.one(y)
        b, (c, number) = self.pair(a, y)
        b = b.view(len(x) * 2, 3).roll(1, 1).reshape(len(x), 6)
        d = self.act(self.two(b) * number).t()
        return {"logits": self.last(d.t() + c), "hidden": (a, d), "n": 3}


class Pair(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, tuple[Tensor, int]]:
        return a + b, (a * b, 2)


@pytest.fixture
def awkward() -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    return Awkward().eval(), (torch.randn(4, 6), torch.randn(4, 6))


@pytest.mark.parametrize("mode", ["zero", "noise", "resample", "constant"])
def test_awkward_code_is_evaluated_as_it_runs(
    awkward: tuple[nn.Module, tuple[Tensor, Tensor]], mode: str
) -> None:
    targets = ["one", "one@0", "one@1", "two", "act@1", "pair", "last", "input:y"]
    sweep = Sweep(*awkward, targets, mode)
    alone = sweep.alone()
    assert equal(alone, sweep.fused(1))
    assert error(alone, sweep.fused(8)) <= 1e-5
    assert error(alone, sweep.fused(8, joined=True)) <= 1e-5


def test_the_model_is_as_it_was() -> None:
    model = real_model("resnet18")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    hooks = [len(m._forward_hooks) for m in model.modules()]
    sweep = Sweep(model, (example("resnet18")[0],), ["layer*.*"], "reinit")
    sweep.fused(2)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert hooks == [len(m._forward_hooks) for m in model.modules()]


class Mixing(nn.Module):
    """Samples that see each other."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        out: Tensor = y @ y.t() + y.mean(0).sum()
        return out


def test_samples_that_see_each_other_stay_apart_from_other_variants() -> None:
    torch.manual_seed(0)
    sweep = Sweep(Mixing(), (torch.randn(3, 4),), ["body", "body.weight", "input"])
    assert equal(sweep.alone(), sweep.fused(3))
    assert equal(sweep.alone(), sweep.fused(3, joined=True))


class Averaging(nn.Module):
    """Computes with the number of samples, in whole numbers and in others."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x) * (x.shape[0] / 3) + x.shape[0]
        return out


def test_numbers_made_of_the_batch_size_are_those_of_the_batch_at_hand() -> None:
    torch.manual_seed(0)
    sweep = Sweep(Averaging(), (torch.randn(3, 4),), ["body"])
    other = torch.randn(5, 4)
    assert equal(sweep.alone(other), sweep.fused(1, other))


class Drawing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x) + torch.rand(4)
        return out


class Counting(nn.Module):
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        out: Tensor = self.body(x)
        return out


@pytest.mark.parametrize(
    ("model", "why"),
    [(Drawing(), "draws random numbers"), (Counting(), "changes tensors")],
)
def test_what_a_graph_would_get_wrong_is_refused(model: nn.Module, why: str) -> None:
    with pytest.raises(BackendError, match=why):
        Sweep(model, (torch.randn(3, 4),), ["body"])


class Two(nn.Module):
    """Gives two values, of which an operation changes the first."""

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x * 2, y


class Second(nn.Module):
    """Uses only the value that no operation changes."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.pair = Two()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pair(self.body(x), x)[1]
        return out


def test_what_an_operation_leaves_alone_is_the_untouched_model_s() -> None:
    torch.manual_seed(0)
    sweep = Sweep(Second(), (torch.randn(3, 4),), ["body", "pair"])
    assert equal(sweep.alone(), sweep.fused(1))
    assert equal(sweep.alone(), sweep.fused(2, joined=True))


class Turned(nn.Module):
    """Adds to what lies one way in memory what lies another way, and dies there."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        one = self.body(x).relu()
        turned = self.body(x).transpose(1, 2) * 2
        return one + turned, one


@torch.no_grad()
def test_values_lie_in_memory_as_the_models_do() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 4, 4)
    sweep = Sweep(Turned(), (x,), ["input", "body@0"])
    found = sweep.program(1).outputs([x])
    assert [y.stride() for y in found[None]] == [y.stride() for y in sweep.model(x)]
    assert [y.stride() for y in found[0]] == [y.stride() for y in found[None]]
    assert equal(sweep.alone(), sweep.fused(1))
