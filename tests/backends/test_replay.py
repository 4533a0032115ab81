"""Replay against plain sweeps, bitwise: apply, forward, undo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import timm
import torch
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

import surgery
from surgery._random import preserved_rng, seed_all
from surgery.ablation import Variant
from surgery.anatomy import Component, tensors
from surgery.data import fresh
from surgery.errors import BackendError
from surgery.evaluator import Evaluated
from surgery.ops import Clock, as_operation, sweeping
from surgery_backends.replay import ReplayEvaluator


def run(model: nn.Module, *args: Any, **kwargs: Any) -> Any:
    seed_all(0)
    with sweeping(0):
        return model(*fresh(args), **fresh(kwargs))


def variants(
    model: nn.Module, groups: Sequence[Sequence[Component]], mode: Any = "zero"
) -> list[Variant]:
    clock = Clock()
    clock.watch(model)
    operation = as_operation(mode)
    return [Variant(model, group, operation, clock) for group in groups]


def parts(model: nn.Module, x: Any, *kinds: str) -> list[list[Component]]:
    return [
        [c]
        for c in surgery.components(model, x)
        if c.kind != "parameter" and (not kinds or c.kind in kinds)
    ]


@torch.no_grad()
def check(
    model: nn.Module,
    trials: Sequence[Variant],
    *batches: Any,
    budget: int | None = None,
    **kwargs: Any,
) -> None:
    """Every batch, every variant: the same bits; and nothing is left of it."""
    evaluator = ReplayEvaluator(model, trials, memory_budget=budget)

    def forward(*args: Any, **kwargs: Any) -> Any:
        return run(model, *args, **kwargs)

    compared = 0
    with preserved_rng():
        for x in batches:
            given = evaluator.evaluate((x,), kwargs, range(len(trials)), forward)
            found = in_order(given)
            assert_same(found[None], forward(x, **kwargs))
            for i, trial in enumerate(trials):
                undo = trial.apply()
                try:
                    expected = forward(x, **kwargs)
                except Exception:
                    assert i not in found
                    continue
                finally:
                    undo()
                assert_same(found[i], expected)
                compared += 1
    assert compared
    assert not any("forward" in vars(module) for module in model.modules())


def in_order(given: Evaluated) -> dict[int | None, Any]:
    """All outputs there are: each is let go of when the next one is asked for."""
    order = list(given.outputs)
    return {key: given.outputs[key] for key in order if key in given.outputs}


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    pairs = list(zip(tensors(found), tensors(expected), strict=True))
    assert pairs
    assert all(torch.equal(a, b) for a, b in pairs)


def counted(model: nn.Module) -> Counter[str]:
    counts: Counter[str] = Counter()

    def count(name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return forward(*args, **kwargs)

        return counting

    for name, module in model.named_modules():
        vars(module)["forward"] = count(name, module.forward)
    return counts


def images(seed: int) -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def resnet() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("resnet18", num_classes=4).eval()


@pytest.mark.parametrize(("mode", "every"), [("zero", 1), ("noise", 5)])
def test_all_parts_of_a_resnet(mode: str, every: int) -> None:
    model = resnet()
    groups = parts(model, images(0))[::every]
    check(model, variants(model, groups, mode), images(1), images(2))


def test_a_swin() -> None:
    torch.manual_seed(0)
    model = SwinTransformer(32, 2, 3, 4, "avg", 16, (2, 2), (2, 4), window_size=4)
    model.eval()
    check(model, variants(model, parts(model, images(0))[::3]), images(1), images(2))


@pytest.mark.parametrize("use_cache", [False, True])
def test_a_gpt2_with_and_without_its_cache(use_cache: bool) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        n_layer=2, n_head=2, n_embd=16, vocab_size=50, n_positions=16
    )
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(config).eval()
    ids = torch.arange(16).view(2, 8)
    groups = parts(model, ids)[::2]
    check(model, variants(model, groups), ids, ids + 3, use_cache=use_cache)


class Pair(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"halves": x.chunk(2, -1), "none": None, "list": [x * 2]}


class Toy(nn.Module):
    """Its forward is whatever function it is given."""

    def __init__(self, form: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c, self.d = (nn.Linear(4, 4) for _ in range(4))
        self.relu = nn.ReLU(inplace=True)
        self.same = nn.Identity()
        self.pair = Pair()
        self.form = form
        self.kept: list[Tensor] = []

    def forward(self, x: Tensor) -> Any:
        return self.form(self, x)


def dense(m: Toy, x: Tensor) -> Any:
    a = m.a(x)
    b = m.b(a + x)
    return m.d(torch.stack([a, b, m.c(a + b)]).relu().sum(0))


def in_place(m: Toy, x: Tensor) -> Any:
    y = m.a(x)
    same = m.same(y)
    z = m.b(y)
    same += 1
    m.relu(z)
    view = z[:, 1:]
    z.mul_(2).add_(y)
    return m.d(m.c(z) + view.sum(-1, keepdim=True))


def shared(m: Toy, x: Tensor) -> Any:
    return m.d(m.a(m.b(m.a(m.relu(m.a(x)).clone()))))


def tuples(m: Toy, x: Tensor) -> Any:
    got = m.pair(m.a(x))
    left, right = got["halves"]
    left.add_(1)
    got["list"].append(m.b(got["list"][0]))
    return {"x": m.c(got["list"][1]), "y": (left, right * 2)}


def moving(m: Toy, x: Tensor) -> Any:
    first, second = (m.a, m.b) if x.sum() > 0 else (m.b, m.a)
    return m.d(second(first(m.c(x))))


def remembering(m: Toy, x: Tensor) -> Any:
    m.kept.clear()
    y = m.a(x)
    return m.d(m.c(y) + m.kept[0])


def batch(seed: int) -> Tensor:
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("form", [dense, in_place, shared, moving])
def test_branches_changes_in_place_shared_modules_and_data_that_decide(
    form: Callable[[Any, Tensor], Any],
) -> None:
    model = Toy(form).eval()
    trials = variants(model, parts(model, batch(0)))
    check(model, trials, *(batch(seed) for seed in range(6)))


def test_single_calls_of_a_shared_module() -> None:
    model, x = Toy(shared).eval(), batch(1)
    calls = [Component(f"a@{n}", "module", "a", call=n) for n in range(3)]
    check(model, variants(model, [[c] for c in calls]), x, x + 1)


def test_outputs_in_containers() -> None:
    model = Toy(tuples).eval()
    check(model, variants(model, parts(model, batch(0))), batch(0), batch(1))


def test_what_a_call_leaves_behind_is_left_behind_each_time() -> None:
    model = Toy(remembering).eval()
    model.a.register_forward_hook(lambda m, x, y: model.kept.append(y * 3))
    trials = variants(model, [[Component(n, "module", n)] for n in "acd"])
    check(model, trials, batch(0), batch(1))


@pytest.mark.parametrize("form", [dense, in_place, shared])
def test_parameters_drawn_anew(form: Callable[[Any, Tensor], Any]) -> None:
    model = Toy(form).eval()
    groups = [[Component(n, "module", n)] for n in "abcd"]
    check(model, variants(model, groups, "reinit"), batch(0), batch(1))


def test_groups() -> None:
    model = resnet()
    every = [c for group in parts(model, images(0)) for c in group]
    groups = [every[n :: len(every) // 3] for n in range(4)]
    check(model, variants(model, groups), images(1))


@pytest.mark.parametrize("budget", [0, 20_000])
def test_a_small_budget_is_exact_too(budget: int) -> None:
    model, x = resnet(), images(1)
    groups = parts(model, x, "module")[::6]
    check(model, variants(model, groups), x, x + 1, budget=budget)


def test_under_autocast() -> None:
    model = resnet()
    groups = parts(model, images(0))[::9]
    with torch.autocast("cpu", torch.bfloat16):
        check(model, variants(model, groups), images(1))


def test_attention_that_torch_runs_otherwise_with_hooks() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.Sequential(nn.Linear(8, 8), layer, nn.Linear(8, 8)).eval()
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1))
    check(model, variants(model, parts(model, x)), x)


def test_modules_before_a_component_do_not_run_again() -> None:
    model = resnet()
    block = [Component("layer4.1", "module", "layer4.1")]
    trials = variants(model, [block] * 5)
    counts = counted(model)
    evaluator = ReplayEvaluator(model, trials)

    def evaluate(x: Tensor, wanted: Sequence[int]) -> Evaluated:
        return evaluator.evaluate((x,), {}, wanted, lambda x: run(model, x))

    with torch.no_grad(), preserved_rng():
        in_order(evaluate(images(0), ()))
        in_order(evaluate(images(0), range(5)))
        counts.clear()
        in_order(evaluate(images(1), range(5)))
    assert counts["layer1.0.conv1"] == counts["layer4.0"] == counts["layer4.1"] == 1
    assert counts["fc"] == 6


@torch.no_grad()
def test_outputs_are_computed_when_they_are_asked_for() -> None:
    model = resnet()
    block = [Component("layer4.1", "module", "layer4.1")]
    trials = variants(model, [block] * 5)
    counts = counted(model)
    evaluator = ReplayEvaluator(model, trials)

    def evaluate() -> Evaluated:
        return evaluator.evaluate((images(0),), {}, range(5), lambda x: run(model, x))

    in_order(evaluate())
    counts.clear()
    outputs = evaluate().outputs
    assert counts["fc"] == 1
    second = outputs[1]  # which lets go of the first
    assert counts["fc"] == 3
    assert 0 not in outputs
    assert outputs[1] is second
    evaluate()  # another batch: what is left of this one has to run by itself
    assert 4 not in outputs


def test_a_model_that_draws_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout().train())
    trials = variants(model, [[Component("0", "module", "0")]])
    with pytest.raises(BackendError, match="draws random numbers"):
        check(model, trials, batch(0))


def test_a_model_whose_buffers_move_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4).train())
    trials = variants(model, [[Component("0", "module", "0")]])
    with pytest.raises(BackendError, match="changes the buffers of a BatchNorm1d"):
        check(model, trials, batch(0))


def test_gradients_are_refused() -> None:
    with pytest.raises(BackendError, match=r"torch\.no_grad"):
        ReplayEvaluator(nn.Linear(4, 4), []).evaluate((), {}, (), lambda: None)
