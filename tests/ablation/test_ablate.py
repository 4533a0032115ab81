"""ablate and restore: exact undoing, proof of effect, errors that say what mends."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

import surgery
from surgery.errors import (
    DataError,
    NoEffectError,
    OperationError,
    SurgeryError,
    TargetError,
)

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A normed block, a part that never runs, a part whose `.forward()` is called."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.act = nn.ReLU()
        self.dead = nn.Linear(4, 4)
        self.direct = nn.Linear(4, 4)
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.first(x)))
        y: Tensor = self.last(self.act(self.direct.forward(x)))
        return y


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    model = Net().eval()
    model.norm.requires_grad_(False)
    return model


def picture(model: nn.Module) -> dict[str, Any]:
    """All of a model that restore promises to give back."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs")
    legacy: Any = np.random.get_state()
    tables = (*hooks, "_forward_pre_hooks_with_kwargs", "_backward_hooks")
    return {
        "state": [(k, v.clone()) for k, v in model.state_dict().items()],
        "ids": [id(p) for p in model.parameters()],
        "grad": [p.requires_grad for p in model.parameters()],
        "training": [m.training for m in model.modules()],
        "hooks": [[dict(getattr(m, t)) for t in tables] for m in model.modules()],
        "attributes": [list(m.__dict__) for m in model.modules()],
        "rng": (torch.get_rng_state(), random.getstate(), legacy[1]),
    }


def assert_same(now: object, then: object) -> None:
    assert type(now) is type(then)
    if isinstance(now, dict) and isinstance(then, dict):
        assert list(now) == list(then)
        for key in now:
            assert_same(now[key], then[key])
    elif isinstance(now, list | tuple) and isinstance(then, list | tuple):
        assert len(now) == len(then)
        for a, b in zip(now, then, strict=True):
            assert_same(a, b)
    elif isinstance(now, Tensor) and isinstance(then, Tensor):
        assert torch.equal(now, then)
    elif isinstance(now, np.ndarray) and isinstance(then, np.ndarray):
        assert np.array_equal(now, then)
    else:
        assert now == then


LOADER = [(X[:4], None), (X[4:], None)]
MODES: dict[str, Any] = {
    "zero": {},
    "identity": {},
    "constant": {"mode": surgery.ops.Constant(2.0)},
    "mean": {"data": LOADER},
    "resample": {"data": LOADER},
    "noise": {},
    "parameter noise": {"mode": surgery.ops.Noise(on="parameters")},
    "reinit": {},
    "freeze": {},
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", MODES)
def test_restore_gives_everything_back_bitwise(
    net: Net, name: str, training: bool
) -> None:
    net.train(training)
    before = picture(net)
    op = surgery.ablate(net, ["first", "norm"], **{"mode": name, **MODES[name]})
    keys = list(net.state_dict())
    op.restore()
    assert keys == [k for k, _ in before["state"]]
    assert_same(picture(net), before)
    assert not op.active
    op.restore()


@pytest.mark.parametrize("name", MODES)
def test_a_forward_under_an_operation_leaves_no_trace(net: Net, name: str) -> None:
    before = picture(net)
    y = net(X)
    with surgery.ablate(net, "first", **{"mode": name, **MODES[name]}):
        changed = net(X)
    assert torch.equal(changed, y) == (name == "freeze")
    assert torch.equal(net(X), y)
    assert_same(picture(net), before)


@pytest.mark.parametrize("name", MODES)
def test_an_exception_inside_the_block_passes_and_all_is_undone(
    net: Net, name: str
) -> None:
    before = picture(net)
    with (
        pytest.raises(KeyError, match="mine"),
        surgery.ablate(net, "first", **{"mode": name, **MODES[name]}),
    ):
        net(X)
        raise KeyError("mine")
    assert_same(picture(net), before)


def test_an_exception_under_way_is_not_replaced_by_no_effect(net: Net) -> None:
    with pytest.raises(KeyError), surgery.ablate(net, "dead"):
        net(X)
        raise KeyError("mine")


def test_a_forward_that_raises_leaves_nothing_behind(net: Net) -> None:
    before = picture(net)
    with surgery.ablate(net, "first", "identity") as op:
        for _ in range(3):
            with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
                net(torch.zeros(2, 5))
        net(X)
        running = op._clock._running()
        assert not any(running.open.values())
    assert_same(picture(net), before)


def test_a_failing_ablate_changes_nothing(net: Net) -> None:
    before = picture(net)
    with pytest.raises(OperationError, match="nothing to freeze"):
        surgery.ablate(net, ["norm", "act"], "freeze")
    with pytest.raises(OperationError, match="has no parameters"):
        surgery.ablate(net, ["norm", "act"], "reinit")
    with pytest.raises(DataError):
        surgery.ablate(net, "first", "mean", data=[])
    with pytest.raises(RuntimeError):
        surgery.ablate(net, "first", "mean", data=[(torch.zeros(2, 5), None)])
    assert_same(picture(net), before)


@pytest.mark.parametrize("target", ["dead", "direct"])
def test_a_module_whose_call_never_ran_is_proved_without_effect(
    net: Net, target: str
) -> None:
    before = picture(net)
    with (
        pytest.raises(NoEffectError, match=rf"never took part at {target}:.*forward"),
        surgery.ablate(net, target),
    ):
        net(X)
    assert_same(picture(net), before)
    op = surgery.ablate(net, target)
    net(X)
    with pytest.raises(NoEffectError, match="so far, but mode='zero'"):
        op.effect(strict=True)
    assert [row.fired for row in op.effect()] == [0]
    with pytest.raises(NoEffectError, match="the model ran"):
        op.restore()
    op.restore()
    assert_same(picture(net), before)


def test_a_model_that_never_ran_is_no_error(net: Net) -> None:
    with surgery.ablate(net, "dead"):
        pass
    op = surgery.ablate(net, "dead")
    with pytest.raises(NoEffectError):
        op.effect(strict=True)
    op.restore()


def test_one_idle_member_of_a_group_is_named(net: Net) -> None:
    op = surgery.ablate(net, ["first", "dead"])
    net(X)
    with pytest.raises(NoEffectError, match="at dead:"):
        op.restore()


def test_with_inputs_a_dead_module_is_refused_before_anything_changes(
    net: Net,
) -> None:
    before = picture(net)
    with pytest.raises(NoEffectError, match="never runs"):
        surgery.ablate(net, "dead", inputs=X)
    assert_same(picture(net), before)


def test_a_bypassed_module_is_proved_and_refused() -> None:
    model = timm.create_model(
        "beit_base_patch16_224", img_size=32, embed_dim=8, depth=1, num_heads=2
    ).eval()
    x = torch.randn(1, 3, 32, 32)
    with (
        pytest.raises(NoEffectError, match=r"blocks\.0\.attn\.qkv"),
        surgery.ablate(model, "blocks.0.attn.qkv"),
    ):
        model(x)
    with pytest.raises(NoEffectError, match="uses its parameters without calling it"):
        surgery.ablate(model, "blocks.0.attn.qkv", inputs=x)
    y = model(x)
    with surgery.ablate(model, "blocks.0.attn.qkv.weight") as op:
        assert not torch.equal(model(x), y)
        assert next(iter(op.effect(strict=True))).fired == 1
    assert torch.equal(model(x), y)


def test_a_wrong_name_says_the_nearest(net: Net) -> None:
    with pytest.raises(TargetError, match="first"):
        surgery.ablate(net, "frist")


def test_nested_ablations_of_one_module_come_off_in_any_order(net: Net) -> None:
    before = picture(net)
    with torch.no_grad():
        plain = net(X)
        two = surgery.ablate(net, "first", surgery.ops.Constant(2.0))
        half = surgery.ablate(net, "first", "zero", dial=0.5)
        with surgery.ablate(net, "first", surgery.ops.Constant(1.0)):
            both = net(X)
        two.restore()
        halved = net(X)
        half.restore()
        assert torch.equal(net(X), plain)
        with surgery.ablate(net, "first", surgery.ops.Constant(1.0)):
            assert torch.equal(net(X), both)
    handmade = net.last(torch.relu(net.direct(torch.relu(net.norm(net.first(X) / 2)))))
    torch.testing.assert_close(halved, handmade)
    assert_same(picture(net), before)


def test_training_under_an_operation_stays_and_its_gradients_are_a_hand_edit_s(
    net: Net,
) -> None:
    net.train()
    twin = Net().train()
    twin.load_state_dict(net.state_dict())
    twin.norm.requires_grad_(False)
    mine = torch.optim.SGD(net.parameters(), 0.1)
    theirs = torch.optim.SGD(twin.parameters(), 0.1)
    with surgery.ablate(net, "first", "identity"):
        for _ in range(3):
            mine.zero_grad()
            net(X).square().sum().backward()
            mine.step()
    for _ in range(3):
        theirs.zero_grad()
        hidden = twin.act(twin.norm(X))
        hand = twin.last(twin.act(twin.direct.forward(hidden)))
        hand.square().sum().backward()
        theirs.step()
    for (name, p), q in zip(net.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(p, q), name
    assert_same(net.norm.running_mean, twin.norm.running_mean)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "zeros"}, "did you mean 'zero'"),
        ({"mode": "xyz"}, r"unknown mode 'xyz'\. Modes are zero, identity"),
        ({"mode": "rewind"}, r"use mode=surgery\.ops\.Rewind\(state_dict\)"),
        ({"mode": 3}, "mode must be a name, an operation"),
        ({"mode": surgery.ops.Zero}, "mode must be a name, an operation"),
        ({"mode": "freeze", "dial": 0.5}, "leave dial at 1"),
        ({"mode": "mean"}, "needs data to average over: pass data=loader"),
        ({"mode": "mean", "data": []}, "the data has no batch"),
        ({"inputs": 3}, "inputs= takes a tensor, a tuple"),
        ({"inputs": torch.zeros(2, 5)}, "could not run on the given inputs"),
    ],
)
def test_bad_arguments_say_what_mends_them(
    net: Net, arguments: dict[str, Any], message: str
) -> None:
    before = picture(net)
    with pytest.raises(SurgeryError, match=message):
        surgery.ablate(net, "first", **arguments)
    assert_same(picture(net), before)


def test_what_it_is_can_be_read(net: Net) -> None:
    op = surgery.ablate(net, ["first", "norm", "act", "last"])
    assert repr(op) == "<Ablation zero of first, norm, act, ... in Net, active>"
    net(X)
    effects = op.effect()
    op.restore()
    assert repr(op).endswith("undone>")
    frame = effects.to_pandas()
    assert list(frame) == ["component", "mode", "fired", "changed", "note"]
    assert list(frame["fired"]) == [1, 1, 2, 1]
    assert "first" in str(effects)


def test_inputs_may_be_a_tuple_a_mapping_or_keywords(net: Net) -> None:
    for given in ({"inputs": (X,)}, {"inputs": {"x": X}}, {"kwargs": {"x": X}}):
        with surgery.ablate(net, "first", **given) as op:
            assert op.components[0].facts is not None


class Recomputed(nn.Module):
    """Runs its block under activation checkpointing."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 4)
        self.block = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        from torch.utils.checkpoint import checkpoint

        h = self.stem(x)
        y: Tensor = h + checkpoint(self.block, h, use_reentrant=self.reentrant)
        return y


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("mode", ["zero", "identity"])
def test_gradients_under_checkpointing_are_a_hand_edit_s(
    mode: str, reentrant: bool
) -> None:
    model = Recomputed(reentrant)
    h = model.stem(X)
    hidden = torch.zeros_like(h) if mode == "zero" else model.block[0](h)
    hand = h + model.block[2](hidden)
    wanted = torch.autograd.grad(hand.square().sum(), [*model.stem.parameters()])
    with surgery.ablate(model, "block.1", mode):
        model(X).square().sum().backward()
        model(X)  # what recomputation interrupted is not mistaken for this call
    for p, g in zip(model.stem.parameters(), wanted, strict=True):
        torch.testing.assert_close(p.grad, g)


@pytest.mark.parametrize("mode", ["noise", "resample", "mean"])
def test_what_would_not_repeat_itself_under_checkpointing_is_refused(
    mode: str,
) -> None:
    model = Recomputed(False)
    data = [(X, None)] if mode == "mean" else None
    with surgery.ablate(model, "block.1", mode, data=data):
        y = model(X).sum()
        with pytest.raises(OperationError, match="turn checkpointing off"):
            y.backward()


@pytest.mark.parametrize("dial", [0.5, 1.0])
def test_a_function_that_works_in_place_edits_only_a_copy(dial: float) -> None:
    model = nn.Sequential(nn.Identity(), nn.Linear(4, 4))

    def blank_first(output: Tensor, inputs: tuple[Any, ...]) -> Tensor:
        output[:, 0] = 0
        return output

    x = X.clone()
    hand = X.clone()
    hand[:, 0] *= 1 - dial
    with torch.no_grad(), surgery.ablate(model, "0", blank_first, dial=dial) as op:
        torch.testing.assert_close(model(x), model[1](hand))
        assert next(iter(op.effect())).changed is True
    assert torch.equal(x, X)


def test_an_undoing_that_fails_does_not_stop_the_others(net: Net) -> None:
    before = picture(net)
    op = surgery.ablate(net, ["first", "norm"], "reinit")

    def fail() -> None:
        raise KeyError("mine")

    op._undo.callback(fail)
    with pytest.raises(KeyError, match="mine"):
        op.restore()
    assert_same(picture(net), before)


def test_a_gradient_from_before_a_freeze_comes_back_even_if_cleared(net: Net) -> None:
    net(X).sum().backward()
    gradient = net.first.weight.grad
    assert gradient is not None
    with surgery.freeze(net, "first"):
        net.zero_grad()
    assert net.first.weight.grad is not None
    assert torch.equal(net.first.weight.grad, gradient)


class Methods(nn.Module):
    """Has methods beside `forward`, which use its parts too."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Linear(4, 4)
        self.twice = nn.Tanh()
        self.stage = nn.Sequential(nn.Linear(4, 4), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.twice(self.stage(self.features(x)))
        return y

    def features(self, x: Tensor) -> Tensor:
        y: Tensor = self.twice(self.part(x))
        return y

    def iterated(self, x: Tensor) -> Tensor:
        for layer in self.stage:
            x = layer(x)
        return x


def test_a_method_of_the_model_uses_the_one_mean_at_every_call() -> None:
    model = Methods()
    with torch.no_grad():
        wanted = model.twice(model.part(X).mean(0, keepdim=True).expand(6, 4))
        with surgery.ablate(model, "part", "mean", data=[(X, None)]):
            for _ in range(3):
                torch.testing.assert_close(model.features(X), wanted)
            model(X)
            torch.testing.assert_close(model.features(X), wanted)


def test_a_method_of_the_model_does_not_know_which_of_several_means_is_meant() -> None:
    model = Methods()
    with surgery.ablate(model, "twice", "mean", data=[(X, None)]):
        model(X)
        with pytest.raises(OperationError, match=r"runs 2 times.*call the model"):
            model.features(X)


def test_a_call_site_outside_of_a_forward_is_refused() -> None:
    model = Methods()
    with surgery.ablate(model, "twice@1"):
        assert not model(X).any()
        for _ in range(2):
            with pytest.raises(OperationError, match=r"twice@1 ran outside .*model\(x"):
                model.features(X)
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            model(torch.zeros(2, 5))
        with pytest.raises(OperationError, match="ran outside of a forward"):
            model.features(X)
        assert not model(X).any()


def test_a_container_whose_call_failed_is_not_thought_to_run_for_ever() -> None:
    model = Methods()
    with surgery.ablate(model, "stage", "identity") as op:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
                model.stage(torch.zeros(2, 5))
        assert torch.equal(model.iterated(X), X)
        assert torch.equal(model.stage(X), X)
        assert not any(op._clock._running().open.values())


def test_data_that_a_mode_has_no_use_for_does_not_hurt(net: Net) -> None:
    with surgery.ablate(net, "first", "zero", data=[(X, None)]):
        with_data = net(X)
    with surgery.ablate(net, "first", "zero"):
        assert torch.equal(net(X), with_data)


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(SurgeryError, match=r"must be a torch\.nn\.Module, got str"):
        surgery.ablate("resnet18", "layer1")  # type: ignore[arg-type]
