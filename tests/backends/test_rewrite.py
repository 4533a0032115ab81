"""The rewrite backend: actions in code, against the code edited by hand."""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import surgery
from surgery.anatomy import Component, Place, Site, record
from surgery.backend import get_backend
from surgery.engine import Engine
from surgery.errors import BackendError
from surgery.ops import Clock, Constant, Edit, Identity, Noise, Zero


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.drop = nn.Dropout(0.5)
        for parameter in self.parameters():
            parameter.data = draw(*parameter.shape, seed=1)

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        y = self.drop(self.inner(x)) * scale
        y += x
        y = F.relu(y)
        z = torch.cat([y, x], 1)
        return z.view(len(x), 2, 4).sum(1) + y


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = Block()
        self.b = Block()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.b(self.a(x), scale=2.0)
        return out


def by_hand(
    net: Net,
    x: Tensor,
    *,
    zero: str,
) -> Tensor:
    """`Net.forward` with one thing in block `a` at zero."""
    for block, scale in ((net.a, 1.0), (net.b, 2.0)):
        here = zero if block is net.a else ""
        y = block.drop(block.inner(x)) * scale
        y = y * (here != "branch") + x * (here != "skip")
        y = F.relu(y)
        y = y * 0 if here == "relu" else y
        z = torch.cat([y, x * 0 if here == "cat" else x], 1)
        summed = z.view(len(x), 2, 4).sum(1)
        x = summed + (y * 0 if here == "add" else y)
    return x


@pytest.fixture
def net() -> Net:
    return Net().eval()


def component(kind: Any, function: str, index: int, operand: int | None) -> Component:
    site = Site("a", function, index, operand)
    return Component(f"a:{kind}", kind, "a", index=0, place=Place((site,)))


SITES = {
    "branch": component("branch", "add", 0, 0),
    "skip": component("skip", "add", 0, 1),
    "relu": component("function", "relu", 0, None),
    "cat": component("cat", "cat", 0, 1),
    "add": component("add", "add", 1, 1),
}


def attach(
    model: nn.Module, part: Component, operation: Any, clock: Clock | None = None
) -> tuple[Callable[[], None], Edit]:
    edit = Edit(
        part, operation, clock or Clock(), dial=1.0, seed=0, place=0, strict=False
    )
    return get_backend("rewrite", part).attach(model, part, edit), edit


@pytest.mark.parametrize("zero", SITES)
def test_what_is_cut_is_what_a_forward_edited_by_hand_cuts(net: Net, zero: str) -> None:
    x = draw(3, 4)
    base = net(x)
    undo, edit = attach(net, SITES[zero], Zero())
    cut = net(x)
    assert torch.equal(cut, by_hand(net, x, zero=zero)) and edit.fired == 1
    assert not torch.equal(cut, base)
    assert torch.equal(net(draw(5, 4)), by_hand(net, draw(5, 4), zero=zero))
    undo()
    assert torch.equal(net(x), base)
    assert "forward" not in vars(net.a)


@pytest.mark.parametrize("first", [0, 1])
def test_several_actions_on_one_owner_are_undone_in_any_order(
    net: Net, first: int
) -> None:
    x = draw(3, 4)
    base = net(x)
    undo = [attach(net, SITES[name], Zero())[0] for name in ("skip", "cat")]
    assert not torch.equal(net(x), by_hand(net, x, zero="cat"))
    undo[first]()
    left = ("skip", "cat")[1 - first]
    assert torch.equal(net(x), by_hand(net, x, zero=left))
    undo[1 - first]()
    assert torch.equal(net(x), base) and "forward" not in vars(net.a)


def test_actions_at_one_site_act_in_the_order_in_which_they_came(net: Net) -> None:
    x = draw(3, 4)
    attach(net, SITES["skip"], Constant(7.0))
    attach(net, SITES["skip"], Zero())
    assert torch.equal(net(x), by_hand(net, x, zero="skip"))


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_a_copy_made_meanwhile_keeps_the_cut_with_parameters_of_its_own(
    net: Net, again: Callable[[Any], Any]
) -> None:
    x = draw(3, 4)
    undo, _ = attach(net, SITES["skip"], Zero())
    cut = net(x)
    made = again(net)
    undo()
    assert torch.equal(made(x), cut)
    with torch.no_grad():
        made.a.inner.weight.zero_()
    assert not torch.equal(made(x), cut)
    assert torch.equal(net(x), by_hand(net, x, zero=""))


def test_dropout_follows_train_and_gradients_are_those_of_the_edited_code(
    net: Net,
) -> None:
    x = draw(3, 4).requires_grad_()
    net.train()
    attach(net, SITES["skip"], Zero())
    grads: list[Tensor] = []
    for run in (net, lambda x: by_hand(net, x, zero="skip")):
        net.zero_grad()
        torch.manual_seed(3)
        run(x).sum().backward()
        assert net.a.inner.weight.grad is not None
        grads.append(net.a.inner.weight.grad.clone())
    assert torch.equal(*grads)
    net.eval()
    assert torch.equal(net(x), by_hand(net, x, zero="skip"))


def test_an_identity_branch_lets_the_skip_through(net: Net) -> None:
    x = draw(3, 4)
    attach(net, SITES["branch"], Identity())
    y = F.relu(x + x)
    inner = torch.cat([y, x], 1).view(3, 2, 4).sum(1) + y
    assert torch.equal(net(x), net.b(inner, scale=2.0))


def test_a_part_of_a_tensor_is_cut_at_its_pieces(net: Net) -> None:
    x = draw(3, 4)
    site = Site("a", "relu", 0, 0, axis=-1, pieces=((0, 0), (2, 2)))
    part = Component("a:head#0", "head", "a", place=Place((site,)))
    attach(net, part, Zero())
    y = net.a.inner(x) + x
    y[:, [0, 2]] = 0
    y = F.relu(y)
    inner = torch.cat([y, x], 1).view(3, 2, 4).sum(1) + y
    assert torch.equal(net(x), net.b(inner, scale=2.0))


def test_one_call_of_a_module_that_runs_twice(net: Net) -> None:
    model = nn.Sequential(net.a, net.a)
    clock = Clock()
    clock.watch(model)
    site = Site("0", "relu", 0, None)
    part = Component("0@1:relu#0", "function", "0", call=1, place=Place((site,)))
    _, edit = attach(model, part, Zero(), clock)
    x = draw(3, 4)
    once = Block.forward(net.a, x)
    halved = torch.cat([once * 0, once], 1).view(3, 2, 4).sum(1)
    assert torch.equal(model(x), halved) and edit.fired == 1


def test_code_that_branches_on_a_size_is_traced_for_each_size() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x * 2 if x.shape[1] % 2 else x * 3
            return x + y

    model = Odd()
    site = Site("", "add", 0, 0)
    part = Component(":add#0.arg0", "add", "", place=Place((site,)))
    attach(model, part, Zero())
    for size in (3, 4, 3, 5):
        x = draw(2, size)
        assert torch.equal(model(x), x * (2 if size % 2 else 3))


def test_a_module_changed_between_two_uses_is_traced_anew(net: Net) -> None:
    class Scaled(nn.Module):
        factor = 1.0

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x * self.factor) + x

    model, x = Scaled(), draw(2, 3)
    site = Site("", "add", 0, 1)
    part = Component(":add#0.arg1", "add", "", place=Place((site,)))
    for factor in (2.0, 5.0):
        model.factor = factor
        undo, _ = attach(model, part, Zero())
        assert torch.equal(model(x), F.relu(x * factor))
        undo()


def test_what_cannot_be_traced_is_refused_by_cause_when_it_runs() -> None:
    class Data(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + (x if x.sum() > 0 else -x)

    model = Data()
    part = Component(":add#0.arg0", "add", "", place=Place((Site("", "add", 0, 0),)))
    undo, _ = attach(model, part, Zero())
    with pytest.raises(BackendError, match=r"branches on the data.*backend='scoped'"):
        model(draw(3))
    undo()
    assert "forward" not in vars(model)


def test_a_skip_that_no_forward_has_shown_is_refused(net: Net) -> None:
    part = Component("a:skip", "skip", "a")
    with pytest.raises(BackendError, match="pass inputs= with an example"):
        attach(net, part, Zero())


@torch.no_grad()
def test_a_model_that_was_compiled_before_runs_with_the_cut(net: Net) -> None:
    x = draw(3, 4)
    compiled = torch.compile(net, backend="eager")
    base = compiled(x)
    undo, _ = attach(net, SITES["skip"], Zero())
    assert torch.equal(compiled(x), by_hand(net, x, zero="skip"))
    undo()
    assert torch.equal(compiled(x), base) and "forward" not in vars(net.a)
    torch._dynamo.reset()


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
def test_both_ways_of_cutting_a_real_model_agree_bitwise(name: str) -> None:
    import timm

    from benchmarks.conformance.shake import shake

    model = timm.create_model(name).eval()
    shake(model, 0)
    x = draw(2, 3, 64, 64) if name == "test_resnet" else draw(2, 3, 160, 160)
    parts = record(model, (x,)).parts
    chosen = [p for p in parts if p.kind in ("skip", "branch", "head", "gate")]
    with torch.no_grad():
        base = model(x)
        for part in [*chosen[:6], *parts[-3:]]:
            outputs: list[Tensor] = []
            for backend in ("scoped", "rewrite"):
                clock = Clock()
                edit = Edit(
                    part, Noise(), clock, dial=1.0, seed=0, place=0, strict=False
                )
                unwatch = clock.watch(model)
                undo = get_backend(backend, part).attach(model, part, edit)
                outputs.append(model(x))
                undo()
                unwatch()
            assert torch.equal(*outputs), part.name
        assert torch.equal(model(x), base)


def test_ranking_by_either_backend_gives_the_same_table(net: Net) -> None:
    x = draw(16, 4)
    data = [(x, net(x).argmax(1))]
    rankings = [
        surgery.rank(
            net, data, "*:branch", engine=Engine(backend=backend), progress=False
        )
        for backend in ("scoped", "rewrite")
    ]
    values = [[(r.component, r.value) for r in ranking.rows] for ranking in rankings]
    assert values[0] == values[1] and len(values[0]) == 2


def test_an_attribute_that_changes_meanwhile_is_seen(net: Net) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = 1.0
            self.more = {"factor": 1.0}

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x * self.factor * self.more["factor"]) + x

    model, x = Scaled(), draw(2, 3)
    site = Site("", "add", 0, 1)
    undo, _ = attach(
        model, Component(":add#0.arg1", "add", "", place=Place((site,))), Zero()
    )
    assert torch.equal(model(x), F.relu(x))
    model.factor = 2.0
    assert torch.equal(model(x), F.relu(x * 2))
    model.more["factor"] = 4.0
    assert torch.equal(model(x), F.relu(x * 8))
    undo()


@pytest.mark.parametrize("draws", [random.random, np.random.rand])
def test_code_that_goes_its_way_by_chance_is_refused(
    draws: Callable[[], float],
) -> None:
    class Dropping(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + (x if draws() < 0.1 else F.relu(x))

    model = Dropping()
    part = Component(":add#0.arg0", "add", "", place=Place((Site("", "add", 0, 0),)))
    undo, _ = attach(model, part, Zero())
    with pytest.raises(BackendError, match=r"random numbers.*backend='scoped'"):
        model(draw(3))
    undo()
