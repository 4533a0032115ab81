"""Parts found in their owner's own forward, without a recorded one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torch.nn.utils.prune as prune
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

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


def plus_itself(output: Tensor, inputs: object) -> Tensor:
    return output + output


def test_edits_by_hooks_are_not_the_owners_own_code() -> None:
    net = Net()
    block = net.block
    with surgery.ablate(net, "block:branch#1", inputs=X):
        # Its add, counted as the block's, would lead the cut astray.
        op = surgery.ablate(net, "block.a", plus_itself)
        h = X + block.a(X)  # doubled by the other
        torch.testing.assert_close(net(X), net.head(block.short(h)))
        op.restore()
        h = X + block.a(X)
        torch.testing.assert_close(net(X), net.head(block.short(h)))
    assert_clean(net)


def times(factor: float) -> Callable[[Tensor, object], Tensor]:
    return lambda output, inputs: factor * output


def through(module: nn.Module) -> Callable[[Tensor, object], Any]:
    return lambda output, inputs: module(output)


class Doubled(nn.Module):
    """Its hooks do what its own code does: adds of two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Any:
        return x + self.a(x)


def twice(module: nn.Module, args: Any) -> Any:
    return (args[0] + args[0],)


def squared(module: nn.Module, args: Any, output: Any) -> Any:
    return output + output * output


@pytest.mark.parametrize("inputs", [None, X], ids=["lazy", "recorded"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_hooks_run_is_nobodys_own_code(inputs: Any, when: str) -> None:
    net = nn.Sequential(Doubled())
    block = net[0]
    assert isinstance(block, Doubled)

    def add_hooks() -> None:
        for module in (block, block.a):
            module.register_forward_pre_hook(twice)
            module.register_forward_hook(squared)

    if when == "before":
        add_hooks()
    op = surgery.ablate(net, "0:add#0.arg0", "zero", inputs=inputs)
    two = surgery.ablate(net, "0:branch", times(3), inputs=inputs)
    if when == "after":
        add_hooks()
    h = 3 * squared(block, (), F.linear(4 * X, block.a.weight, block.a.bias))
    for _ in range(2):
        torch.testing.assert_close(net(X), squared(block, (), h))
        assert next(iter(op.effect())).fired == next(iter(two.effect())).fired
    op.restore()
    two.restore()


@pytest.mark.parametrize("inputs", [None, X], ids=["lazy", "recorded"])
def test_the_pruning_of_an_owner_is_no_gate_of_it(inputs: Any) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)
            self.w = nn.Parameter(torch.eye(4))
            self.g = nn.Parameter(torch.full((4,), 3.0))

        def forward(self, x: Tensor) -> Any:
            return x + self.a(x @ self.w) * self.g

    net = nn.Sequential(Scaled())
    block = net[0]
    assert isinstance(block, Scaled)
    for module, name in ((block, "w"), (block.a, "weight")):
        prune.l1_unstructured(module, name, 3)
    net(X)
    wanted = X + block.a(X @ block.w)
    for target in ("0:gate", "0:mul#0.arg1"):
        with surgery.ablate(net, target, surgery.ops.Constant(1.0), inputs=inputs):
            torch.testing.assert_close(net(X), wanted)


def test_operations_act_in_the_order_of_attachment_found_or_named() -> None:
    net = nn.Sequential(Doubled())
    block = net[0]
    assert isinstance(block, Doubled)
    two = surgery.ops.Constant(2.0)
    for inputs in (None, X):
        with (
            surgery.ablate(net, "0:skip", two, inputs=inputs),
            surgery.ablate(net, "0:add#0.arg0", times(100)),
        ):
            torch.testing.assert_close(net(X), 200 + block.a(X))


class Helper(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, 3 * x.relu())


class Borrows(nn.Module):
    def __init__(self, helper: Helper) -> None:
        super().__init__()
        self.others = [helper]  # not registered here
        self.a = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Any:
        return x + self.a(self.others[0](x))


@pytest.mark.parametrize("inputs", [None, X], ids=["lazy", "recorded"])
def test_a_module_that_is_registered_elsewhere_is_not_its_callers_code(
    inputs: Any,
) -> None:
    helper = Helper()
    net = nn.Sequential(Borrows(helper), nn.Identity())
    net.helper = helper
    block = net[0]
    assert isinstance(block, Borrows)

    def by_hand(*, skip: float) -> Any:
        return helper(skip * X + block.a(helper(X)))

    with surgery.ablate(net, "0:skip", inputs=inputs):
        torch.testing.assert_close(net(X), by_hand(skip=0))
    with surgery.ablate(net, "0:add#0.arg0", times(5), inputs=inputs):
        torch.testing.assert_close(net(X), by_hand(skip=5))


class Rooted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Doubled()
        self.a = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Any:
        return x + self.a(self.inner(x))


@pytest.mark.parametrize("outer_first", [False, True])
@pytest.mark.parametrize("inputs", [None, X], ids=["lazy", "recorded"])
def test_operations_from_two_roots_keep_to_their_owners(
    inputs: Any, outer_first: bool
) -> None:
    net = Rooted()
    wanted = net.a(X + 2 * net.inner.a(X))
    todo: list[Any] = [
        (net.inner, ":branch", times(2)),
        (net, ":skip", "zero"),
    ]
    ops = [
        surgery.ablate(model, name, mode, inputs=inputs)
        for model, name, mode in (reversed(todo) if outer_first else todo)
    ]
    torch.testing.assert_close(net(X), wanted)
    for op in ops:
        op.restore()
    assert_clean(net)


def test_a_copied_block_is_cut_in_the_model_that_it_is_moved_to() -> None:
    net = nn.Sequential(Doubled())
    with surgery.ablate(net, "0:branch", times(2)):
        net(X)
        block = copy.deepcopy(net[0])
    assert isinstance(block, Doubled)
    around = Rooted()
    around.inner = block  # it was "0" in the model that it is from
    other = nn.Sequential(around)
    inner = X + 2 * block.a(X)
    with surgery.ablate(other, "0:skip"):
        torch.testing.assert_close(other(X), around.a(inner))
    torch.testing.assert_close(other(X), X + around.a(inner))


def test_an_action_may_call_modules_of_the_owner() -> None:
    net = Net()
    b = net.block
    with (
        surgery.ablate(net, "block:branch#0", through(b.deep)),
        surgery.ablate(net, "block:branch#1"),
    ):
        h = X + b.deep(b.a(X))
        torch.testing.assert_close(net(X), net.head(b.short(h)))
    assert_clean(net)


def test_heads_partly_out_of_range_name_the_last() -> None:
    net = nn.Sequential(nn.MultiheadAttention(4, 2, batch_first=True))

    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = net[0]

        def forward(self, x: Tensor) -> Any:
            return self.a(x, x, x)[0]

    model = Attends().train()
    x = X[None]
    with (
        pytest.raises(TargetError, match=r"has 2 attention heads.*'a:head#1'"),
        surgery.ablate(model, "a:head#1-7"),
    ):
        model(x)
    with surgery.ablate(model, "a:head#0-1"):
        model(x)
    assert_clean(model)


@pytest.mark.parametrize("inputs", [None, X], ids=["lazy", "recorded"])
def test_a_restore_in_the_middle_of_a_forward_leaves_nothing(inputs: Any) -> None:
    net = nn.Sequential(Doubled())
    block = net[0]
    assert isinstance(block, Doubled)
    plain = net(X)
    op = surgery.ablate(net, "0:skip", times(2), inputs=inputs)
    net(X)

    def restore(*call: object) -> None:
        op.restore()

    handle = block.a.register_forward_hook(restore)
    net(X)
    handle.remove()
    assert_clean(net)
    assert torch.equal(net(X), plain)


def test_what_runs_twice_in_another_owner_is_not_held_against_a_part() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Doubled()
            self.a = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Any:
            return x + self.a(checkpoint(self.inner, x, use_reentrant=False))

    net = nn.Sequential(Outer())
    outer = net[0]
    assert isinstance(outer, Outer)
    x = X.clone().requires_grad_()
    wanted = X + outer.a(outer.inner.a(X))
    with (
        surgery.ablate(net, "0:skip", times(2)),
        surgery.ablate(net, "0.inner:add#0.arg0"),
    ):
        torch.testing.assert_close(net(x), wanted + X)
        net(x).sum().backward()
    by_hand = X.clone().requires_grad_()
    (2 * by_hand + outer.a(outer.inner.a(by_hand))).sum().backward()
    torch.testing.assert_close(x.grad, by_hand.grad)
