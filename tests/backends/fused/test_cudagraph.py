"""CUDA graphs on a GPU: the same outcomes, few launches, nothing waited for."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

import surgery
from surgery import Engine
from surgery.backend import automatic
from surgery.engine import _together
from surgery.ranking import Ranking
from surgery_backends.fused import CudaGraphEvaluator
from surgery_backends.fused._cudagraph import GraphRecorder
from surgery_backends.fused._recorded import RecordedExecutor
from tests.excision.models import real_model

pytestmark = pytest.mark.gpu

LAUNCHES = ("cudaLaunchKernel", "cudaMemcpyAsync", "cudaMemsetAsync", "GraphLaunch")


@pytest.fixture
def model() -> nn.Module:
    return real_model("resnet18").cuda()


def batches(count: int, size: int = 8) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(count, 3, 32, 32, generator=generator)
    y = torch.randint(5, (count,), generator=generator)
    return list(zip(x.split(size), y.split(size), strict=True))


def ranked(model: nn.Module, data: Any, backend: str, **options: Any) -> Ranking:
    settings: dict[str, Any] = {
        "engine": Engine(backend=backend, amp=options.pop("amp", None)),
        "metric": ["accuracy", "cross_entropy"],
        "progress": False,
    }
    return surgery.rank(model, data, ["layer*.*", "fc"], **settings, **options)


def plan(ranking: Ranking) -> dict[str, Any]:
    provenance: Any = ranking.provenance
    found: dict[str, Any] = provenance["plan"]
    return found


def close(ours: Ranking, theirs: Ranking, tolerance: float = 1e-4) -> None:
    assert [row.component for row in ours.rows] == [r.component for r in theirs.rows]
    for one, other in zip(ours.rows, theirs.rows, strict=True):
        assert one.value == pytest.approx(other.value, rel=tolerance, abs=tolerance)
        assert one.effect == other.effect


@pytest.mark.parametrize("mode", ["zero", "mean", "noise", "resample"])
@pytest.mark.parametrize("count", [40, 45])
def test_rows_are_those_of_the_program_called_directly(
    model: nn.Module, mode: str, count: int
) -> None:
    recorded = ranked(model, batches(count), "cudagraph", mode=mode)
    draws = mode in ("noise", "resample")
    full = count // 8
    assert plan(recorded)["evaluator"] == "cudagraph"
    assert plan(recorded)["settled"] == full - 1 + (count > 40 and not draws)
    close(recorded, ranked(model, batches(count), "fused", mode=mode))


def test_data_on_the_device_needs_no_copy_from_the_host(model: nn.Module) -> None:
    there = [(x.cuda(), y.cuda()) for x, y in batches(40)]
    recorded = ranked(model, there, "cudagraph")
    assert plan(recorded)["settled"] == 4
    close(recorded, ranked(model, batches(40), "cudagraph"))


def test_autocast_is_as_it_was_when_it_was_recorded(model: nn.Module) -> None:
    recorded = ranked(model, batches(40), "cudagraph", amp="bfloat16")
    assert plan(recorded)["settled"] == 4
    close(recorded, ranked(model, batches(40), "fused", amp="bfloat16"), 2e-2)


def launches(model: nn.Module, data: Any) -> int:
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        ranked(model, data, "cudagraph")
        torch.cuda.synchronize()
    events = seen.key_averages()
    return sum(e.count for e in events if any(name in e.key for name in LAUNCHES))


def test_a_batch_is_a_handful_of_launches(model: nn.Module) -> None:
    ranked(model, batches(24), "cudagraph")  # libraries are loaded
    few, many = launches(model, batches(24)), launches(model, batches(24 + 80))
    passes = 1
    assert (many - few) / 10 <= passes + 4


@contextmanager
def no_waiting() -> Generator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("mode", ["zero", "noise", "resample"])
def test_nothing_waits_for_the_device(
    model: nn.Module, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = RecordedExecutor.run
    replayed: list[int] = []

    def watched(self: Any, tensors: Any, place: int) -> None:
        if not self._passes:  # libraries wait while it is recorded
            return plain(self, tensors, place)
        replayed.append(place)
        with no_waiting():
            return plain(self, tensors, place)

    monkeypatch.setattr(RecordedExecutor, "run", watched)
    ranked(model, batches(40), "cudagraph", mode=mode)
    assert replayed == [1, 2, 3]


def test_less_is_recorded_at_a_time_where_memory_does_not_suffice(
    model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = GraphRecorder(torch.device("cuda", torch.cuda.current_device()))
    tried: list[int] = []

    def narrow(body: Callable[[], None]) -> Callable[[], None]:
        tried.append(1)
        if len(tried) > 1:
            return record(body)

        def too_much() -> None:
            body()
            held = [torch.empty(2**33, device="cuda") for _ in range(1000)]
            held.clear()

        return record(too_much)

    evaluator = partial(CudaGraphEvaluator, recorder=narrow)
    monkeypatch.setattr(_together, "evaluator_class", lambda name: evaluator)
    recorded = ranked(model, batches(40), "cudagraph")
    assert len(tried) == 2
    assert plan(recorded)["settled"] == 4
    close(recorded, ranked(model, batches(40), "fused"))


def test_auto_prefers_it_and_says_why_where_it_falls_back(model: nn.Module) -> None:
    assert automatic("cuda")[0] == "cudagraph"
    ranking = ranked(model, batches(40), "cudagraph", step=lambda m, b: (m(b[0]), b[1]))
    assert plan(ranking)["settled"] == 0
    assert "the step is the user's own" in " ".join(plan(ranking)["notes"])
