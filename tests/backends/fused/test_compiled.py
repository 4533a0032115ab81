"""The compiled evaluator against the fused program that it compiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import surgery
from surgery.anatomy import tensors
from surgery.errors import BackendError
from surgery.ops import ModeLike, sweeping
from surgery_backends.fused import CompiledEvaluator
from surgery_backends.fused._cuts import Cuts
from surgery_backends.fused._marks import MARK
from surgery_backends.fused._piece import Piece
from surgery_backends.fused._pieces import in_pieces
from surgery_backends.fused._plan import Plan
from tests.backends.fused.sweeping import Sweep, equal, error
from tests.backends.fused.test_program import Averaging, Awkward, Mixing
from tests.excision.models import example, real_model

PIECED: list[tuple[str, list[Any], str]] = [
    ("resnet18", ["layer*.*:branch", "layer*.*:skip"], "zero"),
    ("resnet18", ["layer*.*.conv1", "bn1", "fc"], "reinit"),
    ("resnet18", ["layer*.*.bn1.weight", "layer1.0"], "zero"),
    ("resnet18", ["layer*.*.bn2", ["layer1.0", "layer3.0:branch"]], "resample"),
    ("swin_tiny_patch4_window7_224", ["layers.*.blocks.*:branch"], "zero"),
    ("densenet121", ["features.denseblock*.*"], "zero"),
    ("gpt2", ["transformer.h.*", "transformer.wte"], "noise"),
]
TARGETS = ["one", "one@0", "two", "act@1", "pair", "last", "input:y"]


class Small(nn.Module):
    """Two blocks of convolutions with normalisations, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Block(), Block()
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.second(self.first(x)).mean((2, 3)))
        return out


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        nn.init.uniform_(self.norm.running_mean)  # type: ignore[arg-type]
        nn.init.uniform_(self.norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.norm(self.conv(x)))


def small(targets: Sequence[Any], mode: ModeLike = "zero") -> Sweep:
    torch.manual_seed(0)
    return Sweep(Small().eval(), (torch.randn(4, 4, 5, 5),), targets, mode)


class Compiling:
    """An evaluator for a sweep, called as a ranking calls it."""

    def __init__(self, sweep: Sweep, **options: Any) -> None:
        self.sweep = sweep
        self.evaluator = CompiledEvaluator(sweep.model, sweep.variants, **options)

    def __call__(self, *args: Any) -> tuple[list[list[Tensor]], bool]:
        sweep = self.sweep
        given, wanted = args or tuple(sweep.args), range(len(sweep.variants))
        with sweeping(3):
            found = self.evaluator.evaluate(given, sweep.kwargs, wanted, self._forward)
        rows = [found.outputs[None], *(found.outputs[v] for v in wanted)]
        return [[x.clone() for x in tensors(row)] for row in rows], found.exact

    @property
    def compiled(self) -> int:
        return int(self.evaluator.plan()["compiled"])

    def _forward(self, *args: Any, **kwargs: Any) -> Any:
        stop = self.sweep.clock.watch(self.sweep.model)
        try:
            return self.sweep.model(*args, **kwargs)
        finally:
            stop()


def assert_close(ours: list[list[Tensor]], theirs: list[list[Tensor]]) -> None:
    for row, other in zip(ours, theirs, strict=True):
        for x, y in zip(row, other, strict=True):
            allowed = 1e-5 * float(y.abs().max())
            torch.testing.assert_close(x, y, rtol=0, atol=allowed)


def pieced(sweep: Sweep) -> list[Piece]:
    """Have the sweep's programs made of pieces."""
    sweep.marked, pieces = in_pieces(sweep.model, sweep.marked, sweep.plan.differs)
    sweep.plan = Plan(sweep.model, sweep.marked, sweep.variants)
    return pieces


@pytest.mark.parametrize(("name", "targets", "mode"), PIECED)
def test_pieces_compute_the_same_bits_with_the_same_operations(
    name: str, targets: list[Any], mode: str
) -> None:
    sweep = Sweep(real_model(name), (example(name)[0],), targets, mode)
    with FlopCounterMode(display=False) as whole:
        expected = sweep.fused(1)
    stacked = sweep.fused(3)
    pieces = pieced(sweep)
    with FlopCounterMode(display=False) as cut:
        found = sweep.fused(1)
    assert pieces
    assert equal(found, expected)
    assert equal(sweep.fused(3), stacked)
    assert cut.get_total_flops() == whole.get_total_flops()


@pytest.mark.parametrize("mode", ["zero", "noise", "resample", "constant"])
def test_awkward_code_is_cut_as_it_runs(mode: str) -> None:
    torch.manual_seed(0)
    given = torch.randn(4, 6), torch.randn(4, 6)
    sweep = Sweep(Awkward().eval(), given, [*TARGETS, ["one", "pair"]], mode)
    expected = [sweep.fused(1), sweep.fused(8)]
    assert pieced(sweep)
    assert equal(sweep.fused(1), expected[0])
    assert equal(sweep.fused(8), expected[1])


def test_every_node_is_in_one_stretch_and_comes_after_what_it_needs() -> None:
    sweep = Sweep(
        real_model("resnet18"), (example("resnet18")[0],), ["layer*.*:branch"]
    )
    cuts = Cuts(sweep.marked, sweep.plan.differs)
    order = [node for nodes in cuts.stretches for node in nodes]
    assert len(order) == len(set(order))
    places = {node: i for i, nodes in enumerate(cuts.stretches) for node in nodes}
    for node in order:
        needed = [n for n in node.all_input_nodes if n in places]
        assert all(places[n] <= places[node] for n in needed)
        assert len({sweep.plan.differs[n] for n in cuts.stretches[places[node]]}) == 1
    assert all(nodes[0].target is not MARK for nodes in cuts.stretches if nodes[1:])


def test_what_mixes_samples_stays_by_itself() -> None:
    torch.manual_seed(0)
    sweep = Sweep(Mixing(), (torch.randn(3, 4),), ["body", "body.weight", "input"])
    expected = sweep.fused(3)
    pieced(sweep)
    assert equal(sweep.fused(3), expected)


@pytest.mark.parametrize("mode", ["zero", "noise"])
def test_the_second_batch_is_compiled_and_gives_the_same(mode: str) -> None:
    sweep = small(["first.norm", "second.norm", "second"], mode)
    run = Compiling(sweep)
    first, _ = run()
    second, exact = run()
    assert not exact
    assert run.compiled == run.evaluator.plan()["pieces"] > 1
    assert_close(second, first)
    assert_close(first, sweep.alone())


def test_compiled_variants_may_run_one_after_the_other() -> None:
    sweep = small(["first.norm", "second.norm"])
    run = Compiling(sweep, alike=True)
    first, exact = run()
    assert exact
    second, exact = run()
    assert not exact
    assert_close(second, first)
    assert run.evaluator.plan()["stack"] == {"4": 1}


def test_a_variant_with_weights_of_its_own_runs_plainly_where_they_are() -> None:
    sweep = small(["first.conv", "second.conv", "second.norm.weight"], "reinit")
    run = Compiling(sweep)
    first, _ = run()
    second, _ = run()
    assert run.compiled
    assert_close(second, first)
    assert_close(first, sweep.alone())


def test_an_operation_that_does_nothing_leaves_the_baselines_bits() -> None:
    sweep = small(["first.norm", "second.norm"], _same)
    run = Compiling(sweep, alike=True)
    run()
    (second, _) = run()
    assert equal(second[1:], [second[0]] * 2)


def _same(output: Tensor, inputs: Any) -> Tensor:
    return output.clone()


def test_several_inputs_and_outputs_are_compiled() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(4, 6), torch.randn(4, 6)
    sweep = Sweep(Awkward().eval(), (x,), TARGETS[:3], kwargs={"y": y})
    run = Compiling(sweep)
    first, _ = run()
    second, _ = run()
    assert run.compiled
    assert_close(second, first)


def test_a_ragged_last_batch_runs_plainly_and_compiles_nothing() -> None:
    sweep = small(["first.norm", "second.norm"])
    run = Compiling(sweep)
    run()
    pieces = run.evaluator._graphs
    before = [dict(p.compiled) for _, _, found in pieces.values() for p in found]
    last = torch.randn(3, 4, 5, 5)
    found, _ = run(last)
    after = [dict(p.compiled) for _, _, found in pieces.values() for p in found]
    assert before == after
    assert_close(found, sweep.alone(last))


def test_a_shape_that_comes_again_is_compiled_too() -> None:
    sweep = small(["first.norm", "second.norm"])
    run = Compiling(sweep)
    run()
    other = torch.randn(2, 4, 5, 5)
    plain = [run(other) for _ in range(2)]
    found, exact = run(other)
    assert not exact
    assert_close(found, plain[0][0])


def test_numbers_of_the_batch_are_those_at_hand() -> None:
    torch.manual_seed(0)
    sweep = Sweep(Averaging(), (torch.randn(3, 4),), ["body"])
    run = Compiling(sweep)
    run()
    other = torch.randn(5, 4)
    for _ in range(3):
        found, _ = run(other)
        assert_close(found, sweep.alone(other))
    assert_close(run()[0], sweep.alone())


def test_short_types_are_compared_within_their_rounding() -> None:
    sweep = small(["first.norm", "second.norm"])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        run = Compiling(sweep)
        first, _ = run()
        second, exact = run()
    assert not exact
    assert run.compiled
    for row, other in zip(second, first, strict=True):
        torch.testing.assert_close(row, other, rtol=0.05, atol=0.05)


def wrong(module: nn.Module, **options: Any) -> Callable[..., list[Tensor]]:
    """A compiler with a bug."""
    return lambda *taken: [x + 1e-3 for x in module(*taken)]


def broken(module: nn.Module, **options: Any) -> Callable[..., list[Tensor]]:
    raise RuntimeError("no C++ compiler\nlong text")


def test_a_wrong_compiler_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", wrong)
    sweep = small(["first.norm", "second.norm"])
    run = Compiling(sweep)
    for _ in range(2):
        found, _ = run()
        assert_close(found, sweep.alone())
    assert "gives other values" in run.evaluator.plan()["plain"][0]


def test_where_nothing_can_be_compiled_the_error_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "compile", broken)
    run = Compiling(small(["first.norm", "second.norm"]))
    with pytest.raises(BackendError, match=r"no C\+\+ compiler.*backend='fused'"):
        run()


def test_a_piece_that_cannot_be_compiled_runs_between_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[nn.Module] = []

    def sometimes(module: nn.Module, **options: Any) -> Callable[..., list[Tensor]]:
        calls.append(module)
        return broken(module) if len(calls) == 1 else module

    monkeypatch.setattr(torch, "compile", sometimes)
    run = Compiling(small(["first.norm", "second.norm"]))
    first, _ = run()
    second, exact = run()
    plan = run.evaluator.plan()
    assert not exact
    assert error(second, first) <= 1e-5
    assert plan["compiled"] == plan["pieces"] - 1
    assert plan["plain"] == ["RuntimeError: no C++ compiler"]


def test_no_setting_of_the_compiler_is_left_behind() -> None:
    import torch._inductor.config as settings

    before = settings.save_config_portable()
    run = Compiling(
        small(["first.norm", "second.norm"]), options={"max_fusion_size": 8}
    )
    run()
    run()
    assert run.compiled
    assert settings.save_config_portable() == before


def test_a_ranking_asks_for_it_by_name() -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(20, 4, 5, 5), torch.randint(3, (20,))
    data = list(zip(images.split(8), labels.split(8), strict=True))
    model = Small().eval()
    tables: dict[str, Any] = {}
    for backend in ("compiled", "hooks"):
        ranking = surgery.rank(
            model,
            data,
            ["first", "second", "head"],
            metric="cross_entropy",
            engine=surgery.Engine(backend=backend),
            progress=False,
        )
        tables[backend] = ranking.to_pandas()
        provenance: Any = ranking.provenance
        if backend == "compiled":
            assert provenance["plan"]["evaluator"] == "compiled"
            assert provenance["plan"]["compiled"] >= 1
    for column in ("delta", "low", "high"):
        ours, theirs = (tables[backend][column] for backend in tables)
        assert list(ours) == pytest.approx(list(theirs), abs=1e-5)
