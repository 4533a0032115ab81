"""Parts found in their owner's own forward, without a recorded one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import surgery
from surgery.errors import NoEffectError, OperationError, SurgeryError, TargetError
from tests.backends.cutting import assert_clean

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    """Two residual adds, the second with a gated branch and a projected skip."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.deep = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
        self.gate = nn.Linear(4, 4)
        self.short = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Any:
        x = x + self.a(x)
        y = self.deep(x)
        y = y * self.gate(y).sigmoid()
        y += self.short(x)
        return y


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.block = Block()
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.block(x))


def by_hand(net: Net, part: str, x: Tensor = X) -> Tensor:
    b = net.block
    first, a = x, b.a(x)
    if part in ("branch", "branch#0"):
        a = a * 0
    if part in ("skip", "skip#0"):
        first = x * 0
    h = first + a
    y = b.deep(h)
    gate = b.gate(y).sigmoid()
    y = y * gate
    short = b.short(h)
    if part == "gate":
        y = y * 0
    if part in ("branch", "branch#1"):
        y = y * 0
    if part in ("skip", "skip#1"):
        short = short * 0
    out: Tensor = net.head(y + short)
    return out


PARTS = ["branch", "branch#0", "branch#1", "skip", "skip#0", "skip#1", "gate"]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_cut_in_the_first_forward_that_has_it(part: str) -> None:
    net = Net()
    plain = net(X)
    with surgery.ablate(net, f"block:{part}") as op:
        for _ in range(2):
            torch.testing.assert_close(net(X), by_hand(net, part))
        fired = next(iter(op.effect(strict=True))).fired
        assert fired == (4 if part in ("branch", "skip") else 2)
    assert torch.equal(net(X), plain)
    assert_clean(net)


def test_a_projected_skip_lets_the_blocks_input_through() -> None:
    net = Net()
    b = net.block
    h = X + b.a(X)
    y = b.deep(h)
    y = y * b.gate(y).sigmoid()
    with surgery.ablate(net, "block:skip#1", "identity"):
        torch.testing.assert_close(net(X), net.head(y + X))
    with (
        pytest.raises(OperationError, match="makes no sense"),
        surgery.ablate(net, "block:skip#0", "identity"),
    ):
        net(X)
    assert_clean(net)


def test_an_index_past_the_last_names_the_last() -> None:
    net = Net()
    with (
        pytest.raises(TargetError, match=r"has 2 residual adds.*'block:branch#1'"),
        surgery.ablate(net, "block:branch#2"),
    ):
        net(X)
    assert_clean(net)
    with pytest.raises(NoEffectError), surgery.ablate(net, "head:skip"):
        net(X)


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)

    def forward(self, x: Tensor, y: Tensor) -> Any:
        return x + self.a(y)


class Around(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.two = Two()

    def forward(self, x: Tensor) -> Any:
        return self.two(x, x.tanh())


def test_what_only_the_whole_model_tells_asks_for_inputs() -> None:
    net = Around()
    with (
        pytest.raises(TargetError, match="pass an example to inputs="),
        surgery.ablate(net, "two:branch"),
    ):
        net(X)
    assert_clean(net)


def test_compiled_code_uses_what_a_forward_found_before() -> None:
    torch._dynamo.reset()
    net = Net()
    compiled: Any = torch.compile(net, backend="eager", fullgraph=True)
    plain = compiled(X)
    with surgery.ablate(net, "block:branch#1"):
        net(X)
        torch.testing.assert_close(compiled(X), by_hand(net, "branch#1"))
    torch.testing.assert_close(compiled(X), plain)
    with surgery.ablate(net, "block:branch", inputs=X):
        torch.testing.assert_close(compiled(X), by_hand(net, "branch"))
    torch.testing.assert_close(compiled(X), plain)


def test_an_export_of_what_no_forward_has_found_asks_for_inputs() -> None:
    net = Net()
    with surgery.ablate(net, "block:branch"):
        with pytest.raises(SurgeryError, match="pass an example to inputs="):
            torch.export.export(net, (X,), strict=False)
        net(X)
        program = torch.export.export(net, (X,), strict=False)
        torch.testing.assert_close(program.module()(X), by_hand(net, "branch"))


def test_operations_with_and_without_a_record_meet_in_one_owner() -> None:
    net = Net()
    one = surgery.ablate(net, "block:branch#0", inputs=X)
    two = surgery.ablate(net, "block:branch#1")
    torch.testing.assert_close(net(X), net.head(net.block.short(X)))
    one.restore()
    torch.testing.assert_close(net(X), by_hand(net, "branch#1"))
    two.restore()
    assert_clean(net)


def test_edits_by_hooks_are_not_the_owners_own_code() -> None:
    net = Net()
    block = net.block
    with surgery.ablate(net, "block:branch#1", inputs=X):
        # Its add, counted as the block's, would lead the cut astray.
        op = surgery.ablate(net, "block.a", lambda output, inputs: output + output)
        h = X + block.a(X)  # doubled by the other
        torch.testing.assert_close(net(X), net.head(block.short(h)))
        op.restore()
        h = X + block.a(X)
        torch.testing.assert_close(net(X), net.head(block.short(h)))
    assert_clean(net)
