"""Values laid over shared tensors come off in any order, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import surgery

X = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))


class Tied(nn.Module):
    """`a.weight` is `b.weight`; the block's norm has statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = nn.Linear(4, 4)
        self.b.weight = self.a.weight
        self.block = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.b(self.block(self.a(x)).relu())
        return y


def make() -> Tied:
    torch.manual_seed(3)
    return Tied().eval()


EARLIER = Tied().state_dict()

# Each: target, mode, dial.
OPERATIONS: list[tuple[Any, Any, float]] = [
    ("a.weight", "zero", 1.0),
    ("a", "reinit", 0.5),
    (["a", "b"], surgery.ops.Noise(0.3, on="parameters"), 1.0),
    ("b", surgery.ops.Rewind(EARLIER), 1.0),
    ("block", "reinit", 1.0),
    ("block", surgery.ops.Rewind(EARLIER), 0.25),
    ("block.0.weight", surgery.ops.Constant(2.0), 0.5),
    ("block", "freeze", 1.0),
    ("block.0", "freeze", 1.0),
    ("block", "zero", 0.5),
    ("block.0", "identity", 1.0),
    ("a", surgery.ops.Constant(1.0), 0.5),
]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("install"), st.integers(0, len(OPERATIONS) - 1)),
        st.tuples(st.just("undo"), st.integers(0, 20)),
    ),
    max_size=12,
)


def everything(model: nn.Module) -> list[Any]:
    values = [v.clone() for v in model.state_dict().values()]
    flags = [p.requires_grad for p in model.parameters()]
    with torch.no_grad():
        return [*values, model(X), flags, [m.training for m in model.modules()]]


def equal(a: list[Any], b: list[Any]) -> bool:
    return all(
        torch.equal(x, y) if isinstance(x, Tensor) else x == y
        for x, y in zip(a, b, strict=True)
    )


@settings(max_examples=60, deadline=None)
@given(steps)
def test_a_model_is_always_what_the_operations_left_on_it_make_of_it(
    plan: list[tuple[str, int]],
) -> None:
    model = make()
    before = everything(model)
    alive: list[tuple[int, surgery.Ablation]] = []
    for verb, number in plan:
        if verb == "install":
            alive.append((number, _install(model, number)))
        elif alive:
            alive.pop(number % len(alive))[1].restore()
        twin = make()
        kept = [_install(twin, which) for which, _ in alive]
        assert equal(everything(model), everything(twin))
        for op in kept:
            op.restore()
    while alive:
        alive.pop(0)[1].restore()
    assert equal(everything(model), before)


def _install(model: nn.Module, number: int) -> surgery.Ablation:
    target, mode, dial = OPERATIONS[number]
    return surgery.ablate(model, target, mode, dial=dial)


def test_parameters_change_in_place_so_that_an_optimizer_keeps_them() -> None:
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with surgery.ablate(model, "block", "reinit"):
        before = model.block[0].weight.clone()  # type: ignore[operator]
        model.train()(X).sum().backward()
        optimizer.step()
        assert not torch.equal(model.block[0].weight, before)  # type: ignore[arg-type]


def test_what_was_trained_beside_the_operated_tensors_stays() -> None:
    model = make()
    weight, bias = model.a.weight.clone(), model.block[0].bias
    assert isinstance(bias, nn.Parameter)
    with surgery.ablate(model, "a.weight"), torch.no_grad():
        bias.fill_(7.0)
        model.a.weight.fill_(9.0)
    assert bool((bias == 7).all())
    assert torch.equal(model.a.weight, weight)


def test_a_tied_weight_is_operated_on_once() -> None:
    def noised(target: Any) -> Tensor:
        model = make()
        noise = surgery.ops.Noise(0.1, relative=False, on="parameters")
        with surgery.ablate(model, target, noise):
            return model.a.weight.detach().clone()

    torch.testing.assert_close(noised(["a", "b"]), noised("a"))


def test_an_operation_survives_a_change_of_type_in_between() -> None:
    model = make()
    half: Callable[[], nn.Module] = model.half
    weight = model.a.weight.detach().clone()
    with surgery.ablate(model, "a"), surgery.ablate(model, "a.weight"):
        half()
    assert model.a.weight.dtype == torch.float16
    assert torch.equal(model.a.weight, weight.half())


@pytest.mark.parametrize("mode", ["zero", "reinit"])
def test_weights_that_autocast_has_cached_are_operated_on_and_come_back(
    mode: str,
) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh())

    def in_bfloat16() -> Tensor:  # a block of its own starts without a cache
        with torch.autocast("cpu", torch.bfloat16):
            y: Tensor = model(X)
            return y

    plain = in_bfloat16()
    with surgery.ablate(model, "0.weight", mode):
        wanted = in_bfloat16()
    assert not torch.equal(plain, wanted)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model(X), plain)
        with surgery.ablate(model, "0.weight", mode):
            assert torch.equal(model(X), wanted)
        assert torch.equal(model(X), plain)


@pytest.mark.parametrize(
    ("target", "mode"),
    [
        ("0", "reinit"),
        ("0", surgery.ops.Noise(1.0, on="parameters")),
        ("0.weight", "zero"),
    ],
)
def test_a_ranking_under_autocast_sees_parameters_change(
    target: str, mode: Any
) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    labels = torch.arange(5) % 3
    ranking = surgery.rank(
        model.eval(),
        [(X, labels)],
        [target],
        mode=mode,
        metric="cross_entropy",
        engine=surgery.Engine(amp="bfloat16", device="cpu"),
    )
    (row,) = ranking
    assert row.effect == "full" and row.delta != 0
