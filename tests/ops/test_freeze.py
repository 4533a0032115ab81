"""Freezing: nothing in the part learns, everything around it does, flags come back."""

from __future__ import annotations

import copy
import itertools
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import surgery
from surgery.errors import OperationError

X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


def make() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 4),
        nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)),
        nn.Linear(4, 2),
    )


def state(module: nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in module.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("set_to_none", [True, False])
def test_adamw_with_momentum_and_decay_moves_nothing_in_it(set_to_none: bool) -> None:
    model = make()
    optimizer = torch.optim.AdamW(model.parameters(), 0.1, weight_decay=0.5)

    def step() -> None:
        optimizer.zero_grad(set_to_none=set_to_none)
        model(X).square().sum().backward()
        optimizer.step()

    step()
    step()
    op = surgery.freeze(model, "1")
    frozen, outside = state(model[1]), state(model[0])
    model.train()
    for _ in range(3):
        step()
    assert same(state(model[1]), frozen)
    assert not same(state(model[0]), outside)
    op.restore()
    assert same(state(model[1]), frozen)
    step()
    assert not same(state(model[1]), frozen)
    assert model[1][1].num_batches_tracked == 3


def test_gradients_flow_through_to_what_comes_before() -> None:
    model = make()
    model[1][2] = nn.Identity()
    with surgery.freeze(model, "1"):
        model(X).square().sum().backward()
        assert all(p.grad is None for p in model[1].parameters())
        got = model[0].weight.grad
    model[1][1].eval()
    for p in model[1].parameters():
        p.requires_grad_(False)
    (wanted,) = torch.autograd.grad(model(X).square().sum(), [model[0].weight])
    torch.testing.assert_close(got, wanted)


def test_it_survives_train_and_the_modes_afterwards_are_what_was_last_asked() -> None:
    for asked in (True, False):
        model = make().eval()
        op = surgery.freeze(model, "1")
        model.train()
        assert not model[1][1].training and model[1][2].training
        model.train(asked)
        op.restore()
        assert all(m.training is asked for m in model.modules())
        assert all("train" not in m.__dict__ for m in model.modules())


def test_what_the_user_froze_stays_frozen_and_what_is_turned_on_stays_on() -> None:
    model = make()
    weight, bias = model[0].weight, model[0].bias
    assert isinstance(weight, nn.Parameter) and isinstance(bias, nn.Parameter)
    weight.requires_grad_(False)
    bias.requires_grad_(False)
    op = surgery.freeze(model, "0")
    bias.requires_grad_(True)
    op.restore()
    assert not weight.requires_grad and bias.requires_grad


def test_gradients_that_waited_for_an_optimizer_come_back() -> None:
    model = make()
    model(X).sum().backward()
    grads = [p.grad for p in model[0].parameters()]
    with surgery.freeze(model, "0"):
        assert all(p.grad is None for p in model[0].parameters())
    assert [p.grad for p in model[0].parameters()] == grads


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_nested_freezes_come_off_in_any_order(order: tuple[int, ...]) -> None:
    model = make()
    model[0].weight.requires_grad_(False)
    flags = [p.requires_grad for p in model.parameters()]
    ops = [surgery.freeze(model, t) for t in ("1", ["0", "1"], "1.1")]
    left = set(range(3))
    for i in order:
        assert not any(p.requires_grad for p in model[1][1].parameters())
        model.train()
        assert not model[1][1].training
        ops[i].restore()
        left.remove(i)
        assert model[0].bias.requires_grad is (1 not in left)
    assert [p.requires_grad for p in model.parameters()] == flags
    assert model[1][1].training and "train" not in model[1][1].__dict__


def test_one_parameter_can_be_frozen() -> None:
    model = make()
    with surgery.freeze(model, "0.weight") as op:
        model(X).sum().backward()
        assert model[0].weight.grad is None and model[0].bias.grad is not None
        (row,) = op.effect(strict=True)
    assert (row.fired, row.changed) == (1, True)


def test_freezing_what_is_frozen_says_that_nothing_changed() -> None:
    model = make().eval()
    for p in model[1].parameters():
        p.requires_grad_(False)
    with surgery.freeze(model, "1") as op:
        assert next(iter(op.effect())).changed is False


def test_what_cannot_learn_cannot_be_frozen() -> None:
    with pytest.raises(OperationError, match="nothing to freeze"):
        surgery.freeze(make(), "1.2")


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_copy_stays_frozen_for_good_and_the_original_thaws(how: str) -> None:
    model = make()
    op = surgery.freeze(model, "1")
    twin = (
        copy.deepcopy(model) if how == "deepcopy" else pickle.loads(pickle.dumps(model))
    )
    op.restore()
    model.train()
    assert model[1][1].training and model[1][0].weight.requires_grad

    def holds() -> bool:
        twin.train()
        frozen = not any(p.requires_grad for p in twin[1].parameters())
        return frozen and not twin[1][1].training

    assert holds()
    with surgery.freeze(twin, "1"):  # a freeze on top comes off without the first
        assert holds()
    assert holds()


def test_state_dict_keys_stay_the_same() -> None:
    model = make()
    keys = list(model.state_dict())
    with surgery.freeze(model, ["0", "1"]):
        assert list(model.state_dict()) == keys
        model.load_state_dict(make().state_dict())


class Direct(nn.Module):
    """A branch of a parameter, of another module's weight, and of a module."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(4))
        self.fc, self.out = nn.Linear(4, 4), nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.linear(x, self.weight).relu()
        y = self.out(nn.functional.linear(y, self.fc.weight))
        return (x + y) * self.scale  # type: ignore[no-any-return]


def test_a_frozen_branch_holds_the_parameters_that_its_code_uses_itself() -> None:
    model = nn.Sequential(nn.Linear(4, 4), Direct())
    with surgery.freeze(model, "1:branch", inputs=(X,)):
        frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
        assert frozen == ["1.weight", "1.fc.weight", "1.out.weight", "1.out.bias"]
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_frozen_branch_holds_what_a_scripted_child_learns() -> None:
    class Scripted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = torch.jit.script(nn.Linear(4, 4)), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.b(self.a(x))  # type: ignore[no-any-return]

    model = Scripted()
    with surgery.freeze(model, ":branch", inputs=(X,)):
        assert not any(p.requires_grad for p in model.parameters())
    assert all(p.requires_grad for p in model.parameters())
