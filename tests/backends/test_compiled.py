"""torch.compile and torch.export: operations before and after the first call."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import surgery

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        y: Tensor = self.head(x + self.blocks(x))
        return y if scale is None else y * scale


@pytest.fixture
def net() -> Generator[Net]:
    torch._dynamo.reset()
    torch.manual_seed(0)
    with torch.no_grad():
        yield Net().eval()
    torch._dynamo.reset()


def compiled(model: nn.Module, backend: str = "eager") -> Any:
    return torch.compile(model, backend=backend, fullgraph=True)


def by_hand(net: Net, mode: str) -> Tensor:
    blocks = net.blocks
    h = blocks[0](X)
    middle = {
        "zero": torch.zeros_like(h),
        "identity": h,
        "mean": h.tanh().mean(0, keepdim=True).expand_as(h),
    }[mode]
    y: Tensor = net.head(X + blocks[2](middle))
    return y


MODES = ["zero", "identity", "mean"]


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("called_before", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_a_compiled_model_obeys_without_a_graph_break(
    net: Net, mode: str, called_before: bool, backend: str
) -> None:
    model = compiled(net, backend)
    plain = net(X)
    wanted = by_hand(net, mode)
    if called_before:
        torch.testing.assert_close(model(X), plain)
    data = [(X, None)] if mode == "mean" else None
    for _ in range(2):
        with surgery.ablate(model, "blocks.1", mode, data=data) as op:
            for _ in range(3):
                torch.testing.assert_close(model(X), wanted)
            (row,) = op.effect(strict=True)
            assert row.fired == 3 and row.changed in (True, None)
        torch.testing.assert_close(model(X), plain)
        torch.testing.assert_close(net(X), plain)


def test_nested_operations_on_a_compiled_model_come_off_in_any_order(
    net: Net,
) -> None:
    model = compiled(net)
    plain = model(X)
    one = surgery.ablate(model, "blocks.1", "identity")
    first = model(X)
    two = surgery.ablate(model, "blocks.2")
    both = model(X)
    torch.testing.assert_close(both, net.head(X))
    one.restore()
    torch.testing.assert_close(model(X), net.head(X))
    three = surgery.ablate(model, "blocks.1", "identity")
    two.restore()
    torch.testing.assert_close(model(X), first)
    three.restore()
    torch.testing.assert_close(model(X), plain)
    assert not any("forward" in vars(m) for m in net.modules())


def test_a_submodule_that_is_compiled_on_its_own_obeys(net: Net) -> None:
    plain, wanted = net(X), by_hand(net, "identity")
    net.blocks.compile(backend="eager", fullgraph=True)
    net(X)
    for _ in range(2):
        with surgery.ablate(net, "blocks.1", "identity") as op:
            for _ in range(3):
                torch.testing.assert_close(net(X), wanted)
            assert next(iter(op.effect(strict=True))).fired == 3
        torch.testing.assert_close(net(X), plain)


@pytest.mark.parametrize("mode", ["noise", "resample"])
def test_draws_run_outside_of_compiled_code(net: Net, mode: str) -> None:
    plain = net(X)
    model: Any = torch.compile(net, backend="eager")
    model(X)
    with surgery.ablate(model, "blocks.1", mode):
        one, two = model(X), model(X)
        assert not torch.equal(one, plain) and not torch.equal(one, two)
    torch.testing.assert_close(model(X), plain)


def test_parameter_modes_reach_compiled_code(net: Net) -> None:
    model = compiled(net)
    plain = model(X)
    with surgery.ablate(model, "head.weight"):
        torch.testing.assert_close(model(X), net.head.bias.expand(6, 2))
    torch.testing.assert_close(model(X), plain)


def test_inputs_are_found_by_name_under_a_compiled_model(net: Net) -> None:
    model = compiled(net)
    scale = torch.full((6, 1), 3.0)
    plain = model(X, scale)
    with surgery.ablate(model, "input:scale"):
        assert not net(X, scale).any() and not model(X, scale).any()
    with surgery.ablate(model, "input:x"):
        torch.testing.assert_close(net(X, scale), net(X * 0, scale))
    torch.testing.assert_close(model(X, scale), plain)


def test_a_call_site_and_an_iterated_container_obey(net: Net) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = nn.Linear(4, 4)
            self.stage = nn.Sequential(nn.Linear(4, 4), nn.Tanh())

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.stage:
                x = layer(x)
            y: Tensor = x + self.part(self.part(x) + 1)
            return y

    twice = Twice()
    model = compiled(twice)
    plain = model(X)
    once = twice.stage(X)
    with surgery.ablate(model, "part@0"):
        for _ in range(3):
            wanted = once + twice.part.forward(torch.ones(6, 4))
            torch.testing.assert_close(model(X), wanted)
    with surgery.ablate(model, "stage", "identity"):
        wanted = X + twice.part(twice.part(X) + 1)
        for _ in range(2):
            torch.testing.assert_close(model(X), wanted)
    torch.testing.assert_close(model(X), plain)


def test_training_a_compiled_model_under_an_operation(net: Net) -> None:
    with torch.enable_grad():
        wanted = torch.autograd.grad(by_hand(net, "identity").sum(), [net.head.weight])
        model = compiled(net, "aot_eager")
        model(X).sum().backward()
        net.zero_grad()
        with surgery.ablate(model, "blocks.1", "identity"):
            model(X).sum().backward()
    torch.testing.assert_close(net.head.weight.grad, wanted[0])


@pytest.mark.parametrize("mode", MODES)
def test_export_bakes_the_operation_in(net: Net, mode: str) -> None:
    plain, wanted = net(X), by_hand(net, mode)
    data = [(X, None)] if mode == "mean" else None
    export: Callable[..., Any] = torch.export.export
    with surgery.ablate(net, "blocks.1", mode, data=data):
        program = export(net, (X,), strict=False)
        net(X)
    module = program.module()
    torch.testing.assert_close(module(X), wanted)
    torch.testing.assert_close(net(X), plain)
    torch.testing.assert_close(export(net, (X,), strict=False).module()(X), plain)


def test_a_data_parallel_replica_runs_its_own_parameters(net: Net) -> None:
    compiled(net)(X)
    head = net.head
    with surgery.ablate(net, "head", surgery.ops.Noise(0.0)):
        assert "forward" in vars(head)
        replica: Any = head._replicate_for_data_parallel()
        replica.weight, replica.bias = torch.zeros(2, 4), torch.full((2,), 5.0)
        assert torch.equal(replica(X), torch.full((6, 2), 5.0))
        assert not torch.equal(head(X), replica(X))
    assert "_replicate_for_data_parallel" not in vars(head)


def test_a_replica_keeps_the_forward_that_its_original_had_of_its_own(
    net: Net,
) -> None:
    def own(x: Tensor) -> Tensor:
        return x + 1

    compiled(net)(X)
    net.head.forward = own  # type: ignore
    with surgery.ablate(net, "head", surgery.ops.Noise(0.0)):
        assert torch.equal(net.head._replicate_for_data_parallel()(X), X + 1)
    assert net.head.forward is own


def test_a_part_that_compiled_code_leaves_to_python_is_in_its_forward(
    net: Net,
) -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = nn.Tanh()

        def forward(self, x: Tensor) -> Tensor:
            torch._dynamo.graph_break()
            y: Tensor = self.eager(self.part(x) + 1)
            return y

        @torch.compiler.disable  # type: ignore[untyped-decorator]
        def eager(self, x: Tensor) -> Tensor:
            y: Tensor = self.part(x)
            return y

    model: Any = torch.compile(Broken(), backend="eager")
    plain = model(X)
    for site, wanted in [(0, torch.ones(6, 4).tanh()), (1, torch.zeros(6, 4))]:
        with surgery.ablate(model, f"part@{site}"):
            for _ in range(3):
                torch.testing.assert_close(model(X), wanted)
    torch.testing.assert_close(model(X), plain)


def test_a_compiled_part_outside_of_a_forward_is_compiled_once(net: Net) -> None:
    net.blocks.compile(backend="eager", fullgraph=True)
    net.blocks(X)
    with surgery.ablate(net, "blocks.1", "mean", data=[(X, None)]):
        wanted = net.blocks(X)
        before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        for _ in range(4):
            assert torch.equal(net.blocks(X), wanted)
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before


def test_a_forward_that_the_user_sets_meanwhile_stays(net: Net) -> None:
    compiled(net)(X)

    def own(x: Tensor) -> Tensor:
        return x * 5

    def earlier(x: Tensor) -> Tensor:
        return x * 3

    for before in (None, earlier):
        if before is not None:
            net.head.forward = before  # type: ignore
        with surgery.ablate(net, "head", surgery.ops.Noise(0.0)):
            net.head.forward = own  # type: ignore
        assert net.head.forward is own
        assert "_replicate_for_data_parallel" not in vars(net.head)
        del net.head.forward
