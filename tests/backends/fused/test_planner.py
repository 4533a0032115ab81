"""What is chosen for speed, and what is done when memory does not suffice."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from surgery.ablation import Variant
from surgery.anatomy import flop_counter, record
from surgery.errors import BackendError
from surgery.ops import Call, Clock, Zero
from surgery.targets import resolve_each
from surgery_backends.fused import FusedEvaluator, _flops
from surgery_backends.fused._bench import Bench
from surgery_backends.fused._memory import peak_bytes
from surgery_backends.fused._program import FusedProgram
from tests.excision.models import real_model

BLOCKS = "layer*.*:branch"


def evaluator(
    model: nn.Module, x: Tensor, targets: str = BLOCKS, **options: Any
) -> FusedEvaluator:
    """Of all residual branches, or of other parts, zeroed."""
    seen, clock = record(model, (x,), {}), Clock()
    rows = resolve_each(model, targets, seen, called_only=True)
    return FusedEvaluator(
        model, [Variant(model, found, Zero(), clock) for _, found in rows], **options
    )


@torch.no_grad()
def outputs(
    made: FusedEvaluator, model: nn.Module, x: Tensor, wanted: Collection[int]
) -> dict[int | None, Tensor]:
    found = made.evaluate((x,), {}, wanted, model).outputs
    return {variant: found[variant].clone() for variant in found}


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return real_model("resnet18").eval()


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def free(model: nn.Module, x: Tensor) -> FusedEvaluator:
    """One that had all the memory it wanted."""
    made = evaluator(model, x)
    outputs(made, model, x, range(8))
    return made


def test_a_batch_is_planned_at_the_least_operations(free: FusedEvaluator) -> None:
    plan = free.plan()
    assert plan["passes"] == {"4": 1}
    assert plan["flops"] == plan["least_flops"]


@torch.no_grad()
@pytest.mark.parametrize("passes", [1, 2, 8])
def test_planned_operations_are_those_that_torch_counts(
    model: nn.Module, x: Tensor, passes: int
) -> None:
    given = {"stack": {"4": 1}, "passes": {"4": passes}}
    made = evaluator(model, x, plan=given)
    programs = made.programs((x,), {}, range(8), model)
    assert len(programs) == passes
    with flop_counter() as counter:
        outputs(made, model, x, range(8))
    bench = made._bench
    batch, _ = made._prepared((x,), {}, range(8), model)
    assert bench.flops(batch, programs) == counter.get_total_flops()


@torch.no_grad()
def test_every_pass_but_the_first_stops_where_the_baseline_is_not_needed(
    model: nn.Module, x: Tensor
) -> None:
    made = evaluator(model, x, plan={"stack": {"4": 1}, "passes": {"4": 8}})
    first, *others = made.programs((x,), {}, range(8), model)
    batch, _ = made._prepared((x,), {}, range(8), model)
    costs = [made._bench.flops(batch, [program]) for program in (first, *others)]
    assert costs[0] > max(costs[1:])


@pytest.mark.parametrize("passes", [2, 3, 8])
@pytest.mark.parametrize("stack", [1, 2])
def test_passes_give_what_one_pass_gives(
    model: nn.Module, x: Tensor, passes: int, stack: int
) -> None:
    def run(count: int) -> dict[int | None, Tensor]:
        given = {"stack": {"4": stack}, "passes": {"4": count}}
        return outputs(evaluator(model, x, plan=given), model, x, range(8))

    one, several = run(1), run(passes)
    assert one.keys() == several.keys()
    assert all(torch.equal(one[variant], several[variant]) for variant in one)


def test_half_the_memory_gives_the_same_numbers() -> None:
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(32, 32), nn.Tanh()) for _ in range(12)]
    model, x = nn.Sequential(*layers).eval(), torch.randn(4, 32)
    large = evaluator(model, x, "*", plan={"stack": {"4": 12}, "passes": {"4": 1}})
    expected = outputs(large, model, x, range(12))
    (program,) = large.programs((x,), {}, range(12), model)
    peak = peak_bytes(program.tape, (x,))
    small = evaluator(model, x, "*", memory_budget=peak // 2)
    small._planner._stack = 12  # as if it were the fastest
    found = outputs(small, model, x, range(12))
    assert small.plan()["peak_bytes"]["4"] <= peak // 2
    for variant, output in expected.items():
        torch.testing.assert_close(found[variant], output, rtol=1e-5, atol=1e-5)


def test_a_budget_that_no_variant_fits_is_refused_with_one_that_does(
    model: nn.Module, x: Tensor
) -> None:
    with pytest.raises(BackendError, match=r"give Engine\(memory_budget=\d+\)"):
        outputs(evaluator(model, x, memory_budget=1000), model, x, range(8))


def test_a_last_batch_is_planned_as_those_before_it(
    model: nn.Module, x: Tensor
) -> None:
    made = evaluator(model, x)
    outputs(made, model, x, range(8))
    outputs(made, model, x[:3], range(8))
    plan = made.plan()
    assert plan["stack"]["3"] == plan["stack"]["4"]
    assert plan["flops"]["3"] == plan["flops"]["4"] * 3 // 4


def failing(times: int, error: Exception) -> Callable[..., Any]:
    """Raises at so many calls, then runs."""
    run, left = Bench.run, times

    def failing_run(self: Bench, *args: Any) -> Any:
        nonlocal left
        if left:
            left -= 1
            raise error
        return run(self, *args)

    return failing_run


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_with_too_little_memory_less_is_computed_at_a_time(
    model: nn.Module, x: Tensor, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = evaluator(model, x, plan={"stack": {"4": 8}, "passes": {"4": 1}})
    expected = outputs(made, model, x, range(8))
    monkeypatch.setattr(Bench, "run", failing(4, error))
    found = outputs(made, model, x, range(8))
    assert made.plan()["stack"]["4"] == 1
    assert made.plan()["passes"]["4"] == 2
    for variant, output in expected.items():
        torch.testing.assert_close(found[variant], output, rtol=1e-5, atol=1e-5)


def test_what_memory_does_not_suffice_for_at_all_is_left_to_others(
    model: nn.Module, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = evaluator(model, x, plan={"stack": {"4": 1}, "passes": {"4": 8}})
    outputs(made, model, x, range(8))
    found = made.evaluate((x,), {}, range(8), model).outputs  # the first pass ran
    first = next(v for v in found if v is not None)
    monkeypatch.setattr(Bench, "run", failing(9, torch.OutOfMemoryError("full")))
    assert first in found
    assert [v for v in range(8) if v in found and v != first] == []
    assert made.plan()["notes"] == [
        "memory did not suffice for one variant on a batch of 4"
    ]
    with pytest.raises(BackendError, match="memory did not suffice"):
        made.evaluate((x,), {}, range(8), model)


class Flipped(nn.Module):
    """Each sample is added to another one: values tell, shapes do not."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.two = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        out: Tensor = self.two(x + x.flip(0))
        return out


def quickest(monkeypatch: pytest.MonkeyPatch, *, channels_last: bool) -> None:
    """Programs in this layout are told to be fast, whatever they take."""

    def seconds(self: Bench, program: FusedProgram, batch: object) -> float:
        steps = len(program.tape.steps)
        return steps / (1 if program.made.channels_last == channels_last else 0.1)

    monkeypatch.setattr(Bench, "seconds", seconds)


@torch.no_grad()
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_layout_that_is_faster_is_taken(
    model: nn.Module, x: Tensor, monkeypatch: pytest.MonkeyPatch, channels_last: bool
) -> None:
    quickest(monkeypatch, channels_last=channels_last)
    made = evaluator(model, x)
    given = made.evaluate((x,), {}, range(8), model)
    assert not given.exact or not channels_last
    plan = made.plan()
    assert plan["channels_last"] == {"4": channels_last}
    assert (plan["copied_bytes"]["4"] > 0) is channels_last
    again = evaluator(model, x, plan=plan)
    given = again.evaluate((x,), {}, range(8), model)
    assert again.plan() == plan
    for variant in given.outputs:
        torch.testing.assert_close(
            given.outputs[variant], alone(made, model, x, variant), rtol=0, atol=1e-4
        )


def alone(made: FusedEvaluator, model: nn.Module, x: Tensor, v: int | None) -> Tensor:
    """The output by a forward of its own."""
    undo = made._trials[v].apply() if v is not None else lambda: None
    try:
        out: Tensor = model(x)
    finally:
        undo()
    return out


@torch.no_grad()
@pytest.mark.parametrize(("times", "fits"), [(1, False), (4, True)])
def test_a_budget_without_room_for_kernels_laid_out_leaves_them(
    times: int, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    quickest(monkeypatch, channels_last=True)
    model = nn.Sequential(*[nn.Conv2d(64, 64, 3, padding=1) for _ in range(3)]).eval()
    x, kernels = torch.randn(4, 64, 2, 2), 3 * 64 * 64 * 9 * 4
    made = evaluator(model, x, "*", memory_budget=times * kernels)
    outputs(made, model, x, range(3))
    plan = made.plan()
    assert plan["channels_last"] == {"4": fits}
    assert plan["copied_bytes"] == {"4": kernels * fits}
    assert plan["peak_bytes"]["4"] + plan["copied_bytes"]["4"] <= times * kernels


@torch.no_grad()
@pytest.mark.parametrize("place", ["layer1.0.conv1", "layer2.1.conv1"])
def test_an_operation_that_wants_images_as_they_are_has_them_so(
    model: nn.Module, x: Tensor, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def halved(output: Tensor, inputs: tuple[Any, ...]) -> Tensor:
        return (output.view(-1) / 2).view(output.shape)

    quickest(monkeypatch, channels_last=True)
    seen, clock = record(model, (x,), {}), Clock()
    names = [f"layer{i}.{j}.conv1" for i in (1, 2, 3, 4) for j in (0, 1)]
    rows = resolve_each(model, names, seen, called_only=True)
    variants = [
        Variant(model, found, Call(halved) if name == place else Zero(), clock)
        for name, (_, found) in zip(names, rows, strict=True)
    ]
    made = FusedEvaluator(model, variants)
    found = outputs(made, model, x, range(8))
    assert made.plan()["channels_last"] == {"4": False}
    assert len(found) == 9
    assert "notes" not in made.plan()


def test_a_plan_says_what_it_could_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_flops, "_on_meta", lambda kwargs: {"unheard_of": 1})
    model, x = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).eval(), torch.ones(3, 4)
    made = evaluator(model, x, "*")
    outputs(made, model, x, range(2))
    notes = ["operations of aten.linear.default are not counted"]
    assert made.plan()["notes"] == notes


@torch.no_grad()
@pytest.mark.parametrize("place", range(5))
def test_an_operation_that_fails_is_left_out_wherever_it_is(place: int) -> None:
    def failing(output: Tensor, inputs: tuple[Any, ...]) -> Tensor:
        raise ValueError("not here")

    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(5)]).eval()
    x = torch.randn(3, 4)
    seen, clock = record(model, (x,), {}), Clock()
    rows = resolve_each(model, "*", seen, called_only=True)
    variants = [
        Variant(model, found, Call(failing) if at == place else Zero(), clock)
        for at, (_, found) in enumerate(rows)
    ]
    made = FusedEvaluator(model, variants)
    found = outputs(made, model, x, range(5))
    assert set(found) == {None, *range(5)} - {place}


@torch.no_grad()
def test_variants_are_not_stacked_where_samples_see_each_other() -> None:
    torch.manual_seed(0)
    model, x = Flipped().eval(), torch.randn(5, 4)
    seen, clock = record(model, (x,), {}), Clock()
    rows = resolve_each(model, ["one", "two", "input"], seen, called_only=True)
    variants = [Variant(model, found, Zero(), clock) for _, found in rows]
    made = FusedEvaluator(model, variants)
    found = outputs(made, model, x, range(3))
    assert made.plan()["stack"] == {"5": 1}
    torch.testing.assert_close(found[None], model(x))
