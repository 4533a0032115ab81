"""Rankings scored on the device, against those of the general way: the same bits."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import surgery
from benchmarks.conformance.shake import shake
from surgery import Engine
from surgery.engine import _together
from surgery.engine._metric import AbstractOutcome
from surgery.engine._resident import Resident
from surgery.engine._swept import Swept
from surgery.errors import BackendError, DataError
from surgery.ranking import Ranking
from surgery_backends.fused import CudaGraphEvaluator, FusedEvaluator
from surgery_backends.fused._choice import Choice
from surgery_backends.fused._plan import Pass
from surgery_backends.fused._planner import Planner
from surgery_backends.fused._program import fuse
from tests.backends.fused.rehearsal import rehearse
from tests.excision.models import real_model

Batch = Any
RECORDER = partial(CudaGraphEvaluator, recorder=rehearse)


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch) -> list[Swept]:
    """What sweeps leave, in order."""
    found: list[Swept] = []
    start = Swept.start.__func__  # type: ignore[attr-defined]

    def kept(cls: type[Swept], *args: Any) -> Swept:
        found.append(start(cls, *args))
        return found[-1]

    monkeypatch.setattr(Swept, "start", classmethod(kept))
    return found


@pytest.fixture(autouse=True)
def stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many variants are stacked, which is else found out by the clock."""
    monkeypatch.setattr(Planner, "_fastest", lambda *args: Choice(3))


@pytest.fixture(params=["direct", "recorded"])
def resident(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The two executors that need no GPU: called again, and recorded."""
    if request.param == "recorded":
        monkeypatch.setattr(_together, "evaluator_class", lambda name: RECORDER)
    return str(request.param)


@pytest.fixture
def general(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Switches to the general way."""
    return lambda: monkeypatch.setattr(Resident, "take", lambda *args: False)


def ranked(model: nn.Module, data: Any, targets: Any, **options: Any) -> Ranking:
    engine = Engine(backend=options.pop("backend", "fused"))
    return surgery.rank(model, data, targets, engine=engine, progress=False, **options)


def settled(ranking: Ranking) -> int:
    provenance: Any = ranking.provenance
    return int(provenance["plan"]["settled"])


def notes(ranking: Ranking) -> str:
    provenance: Any = ranking.provenance
    return " ".join(provenance["plan"]["notes"])


def bits(outcome: AbstractOutcome) -> Any:
    """Everything that an outcome keeps, comparable."""
    measured: Any = getattr(outcome, "measured", None)
    named = {"": measured} if measured is not None else outcome.per_sample  # type: ignore[attr-defined]
    found: dict[str, Any] = {}
    for name, item in named.items():
        values, weights = item.arrays()
        raw = item.values.numpy()
        found[name] = (
            raw.dtype,
            values.tobytes(),
            None if weights is None else weights.tobytes(),
            item.failed,
        )
    return found, outcome.samples


def everything(swept: Swept) -> Any:
    return (
        [bits(outcome) for outcome in swept.baseline],
        [[bits(outcome) for outcome in outcomes] for outcomes in swept.outcomes],
        swept.reached,
        swept.refused,
        swept.batch_sizes,
        swept.failures,
    )


def images(count: int, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, 32, 32, generator=generator)


def pairs(count: int, size: int, model: nn.Module) -> list[tuple[Tensor, Tensor]]:
    x = images(count)
    with torch.no_grad():
        y = model(x).argmax(1)
    y[::3] = (y[::3] + 1) % 5
    return list(zip(x.split(size), y.split(size), strict=True))


def tokens(count: int, size: int) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(50, (count, 7), generator=generator)
    labels = ids.clone()
    labels[1::4, -3:] = -100
    return [
        {"input_ids": x, "labels": y, "attention_mask": torch.ones_like(x)}
        for x, y in zip(ids.split(size), labels.split(size), strict=True)
    ]


TARGETS = {
    "test_resnet": ["layer*.*", "layer*.*:branch"],
    "test_vit": ["blocks.*:branch", "blocks.*.attn:head#*"],
    "test_convnext": ["stages.*.blocks.*:branch"],
    "gpt2": ["transformer.h.*:branch", "transformer.h.*"],
}
REINIT = {"test_resnet": ["layer*.*.conv1", "fc"], "gpt2": ["transformer.h.*.mlp"]}
MODES = ("zero", "mean", "noise", "resample", "reinit")
CASES = [
    *(
        ("test_resnet", mode)
        for mode in ("zero", "mean", "noise", "resample", "reinit")
    ),
    *(("test_vit", mode) for mode in ("zero", "noise")),
    *(("test_convnext", mode) for mode in ("zero", "mean")),
    *(("gpt2", mode) for mode in ("zero", "resample", "reinit")),
]


@cache
def made(name: str) -> nn.Module:
    """A small model with weights under which every part matters."""
    if name == "gpt2":
        return real_model(name)
    torch.manual_seed(0)
    options: dict[str, Any] = {"img_size": 32} if name == "test_vit" else {}
    model: nn.Module = timm.create_model(name, num_classes=5, **options)
    shake(model, 0)
    return model.eval()


def swept_by(name: str, mode: str) -> Ranking:
    model = made(name)
    data: list[Any] = tokens(14, 4) if name == "gpt2" else pairs(14, 4, model)
    targets = REINIT[name] if mode == "reinit" else TARGETS[name]
    metric = ["accuracy", "cross_entropy"]
    return ranked(model, data, targets, mode=mode, metric=metric)


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_outcomes_are_bit_for_bit_those_of_the_general_way(
    name: str, mode: str, swept: list[Swept], monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = swept_by(name, mode)
    with monkeypatch.context() as recording:
        recording.setattr(_together, "evaluator_class", lambda name: RECORDER)
        recorded = swept_by(name, mode)
    monkeypatch.setattr(Resident, "take", lambda *args: False)
    general = swept_by(name, mode)
    assert settled(general) == 0
    assert settled(direct) == 3, notes(direct)
    assert everything(swept[0]) == everything(swept[2])
    assert direct.rows == general.rows
    if mode in ("noise", "resample"):  # draws depend on the size of the last batch
        assert settled(recorded) == 2, notes(recorded)
        assert everything(swept[1]) == everything(swept[2])
    else:  # which is filled up here, and kernels differ with the size of a batch
        assert settled(recorded) == 3, notes(recorded)
        close(recorded, general)


def close(fast: Ranking, plain: Ranking) -> None:
    for ours, theirs in zip(fast.rows, plain.rows, strict=True):
        assert ours.component == theirs.component
        assert ours.value == pytest.approx(theirs.value, abs=1e-5, nan_ok=True)


class Two(nn.Module):
    """Two inputs, a part that does nothing, and dropout that is off."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(6, 8)
        self.two = nn.Linear(6, 8)
        self.idle = nn.Identity()
        self.dead = nn.Linear(8, 8)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, 3)
        nn.init.zeros_(self.dead.weight)
        nn.init.zeros_(self.dead.bias)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        hidden = self.drop(self.one(x).relu() * self.two(other)) + self.dead(x @ W)
        out: Tensor = self.head(self.idle(hidden))
        return out


W = torch.eye(6, 8)
PARTS = ["one", "two", "dead", "head"]


@pytest.fixture
def two() -> nn.Module:
    torch.manual_seed(0)
    return Two().eval()


def inputs(count: int = 22, size: int = 5) -> list[Any]:
    generator = torch.Generator().manual_seed(1)
    x, other = (torch.randn(count, 6, generator=generator) for _ in range(2))
    y = torch.randint(3, (count,), generator=generator)
    parts = zip(x.split(size), other.split(size), y.split(size), strict=True)
    return [((x, other), y) for x, other, y in parts]


def as_mapping(batches: list[Any]) -> list[Any]:
    return [{"x": x, "other": other, "labels": y} for (x, other), y in batches]


def both(
    general: Callable[[], None], model: nn.Module, data: Any, **options: Any
) -> tuple[Ranking, Ranking]:
    fast = ranked(model, data, options.pop("targets", PARTS), **options)
    general()
    return fast, ranked(model, data, PARTS, **options)


@pytest.mark.parametrize("form", [list, as_mapping])
def test_several_inputs_and_keyword_inputs_are_one_way(
    form: Any,
    two: nn.Module,
    resident: str,
    swept: list[Swept],
    general: Callable[[], None],
) -> None:
    data = form(inputs(20))
    fast, plain = both(general, two, data, metric=["accuracy", "accuracy@2"])
    assert settled(fast) == 3, notes(fast)
    assert everything(swept[0]) == everything(swept[1])
    assert [row.effect for row in fast.rows] == [row.effect for row in plain.rows]
    assert {row.component: row.effect for row in fast.rows}["dead"] == "none"


@pytest.mark.parametrize("passes", [2, 4])
def test_later_passes_have_no_baseline(
    passes: int,
    two: nn.Module,
    resident: str,
    swept: list[Swept],
    general: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def programs(self: Any, args: Any, kwargs: Any, wanted: Any, forward: Any) -> Any:
        batch, _ = self._prepared(args, kwargs, wanted, forward)
        plan = self._bench.plan(batch)
        chunks = [[v] for v in wanted]
        return [
            fuse(two, plan, Pass.of(chunks[i::passes], baseline=not i), batch.leaves)
            for i in range(passes)
        ]

    monkeypatch.setattr(FusedEvaluator, "programs", programs)
    monkeypatch.setattr(Planner, "_fastest", lambda *args: Choice(1))
    fast, _ = both(general, two, inputs(20), metric="cross_entropy")
    assert settled(fast) == 3, notes(fast)
    assert everything(swept[0]) == everything(swept[1])


def test_a_sample_that_fails_in_the_untouched_model_leaves_all_variants(
    two: nn.Module, resident: str, swept: list[Swept], general: Callable[[], None]
) -> None:
    data = inputs(20)
    data[2][0][0][1] = float("nan")
    fast, plain = both(general, two, data, on_error="skip", mode="resample")
    assert settled(fast) == 3
    assert everything(swept[0]) == everything(swept[1])
    assert fast.provenance["failures"] == plain.provenance["failures"] != []
    with pytest.raises(DataError, match="sample 11; mend"):
        ranked(two, data, PARTS)


def test_a_sample_that_fails_in_a_variant_counts_against_it(
    two: nn.Module, resident: str, swept: list[Swept], general: Callable[[], None]
) -> None:
    huge = surgery.ops.Noise(std=3e38, relative=False)
    fast, plain = both(
        general, two, inputs(20), mode=huge, metric=["accuracy", "cross_entropy"]
    )
    assert settled(fast) == 3, notes(fast)
    assert any(row.failed for row in fast.rows)
    assert everything(swept[0]) == everything(swept[1])
    assert fast.provenance["failures"] == plain.provenance["failures"] != []


def test_labels_out_of_range_are_told_of_as_ever(
    two: nn.Module, resident: str, general: Callable[[], None]
) -> None:
    data = inputs(20)
    data[2][1][3] = 7
    with pytest.raises(DataError) as fast:
        ranked(two, data, PARTS)
    general()
    with pytest.raises(DataError) as plain:
        ranked(two, data, PARTS)
    assert str(fast.value) == str(plain.value)


def test_samples_are_left_out_where_labels_say_so(
    two: nn.Module, resident: str, swept: list[Swept], general: Callable[[], None]
) -> None:
    data = inputs(20)
    data[2][1][3] = data[3][1][0] = -100
    fast, _ = both(general, two, data, metric=["accuracy", "cross_entropy"])
    assert settled(fast) == 3
    assert everything(swept[0]) == everything(swept[1])
    assert {row.n for row in fast.rows} == {18}


def test_a_loader_may_use_its_memory_again(
    two: nn.Module, resident: str, swept: list[Swept], general: Callable[[], None]
) -> None:
    def loader() -> Iterator[Any]:
        memory = [torch.empty(5, 6), torch.empty(5, 6), torch.zeros(5).long()]
        for (x, other), y in inputs(20):
            for held, new in zip(memory, (x, other, y), strict=True):
                held.copy_(new)
            yield (memory[0], memory[1]), memory[2]
            memory[0].fill_(float("nan"))

    fast = ranked(two, loader(), PARTS)
    general()
    ranked(two, inputs(20), PARTS)
    assert settled(fast) == 3
    assert everything(swept[0]) == everything(swept[1])


class Mixing(Two):
    """Samples that see each other."""

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        return super().forward(x - x.mean(0), other)


def test_a_last_batch_is_not_filled_up_where_samples_see_each_other(
    resident: str, swept: list[Swept], general: Callable[[], None]
) -> None:
    torch.manual_seed(0)
    both(general, Mixing().eval(), inputs(22), metric="cross_entropy")
    assert everything(swept[0]) == everything(swept[1])


def test_an_interrupted_sweep_keeps_what_was_handed_over(
    two: nn.Module, resident: str, swept: list[Swept]
) -> None:
    def loader() -> Iterator[Any]:
        for number, batch in enumerate(inputs(20)):
            if number == 2:
                signal.raise_signal(signal.SIGINT)
            yield batch

    with pytest.warns(UserWarning, match="first 15 samples"):
        ranking = ranked(two, loader(), PARTS)
    assert settled(ranking) == 2
    assert {row.n for row in ranking.rows} == {15}


def picky(outputs: Tensor, labels: Tensor) -> Tensor:
    return outputs.softmax(1)[:, 0] * labels


def looking(outputs: Tensor, labels: Tensor) -> Tensor:
    return outputs[:, 0] * float(labels[0])


def own_step(model: nn.Module, batch: Any) -> Any:
    return model(*batch[0]), batch[1]


def test_a_function_per_sample_is_scored_on_the_device_too(
    two: nn.Module, resident: str, swept: list[Swept], general: Callable[[], None]
) -> None:
    fast, _ = both(general, two, inputs(20), metric=picky, higher_is_better=True)
    assert settled(fast) == 3, notes(fast)
    assert everything(swept[0]) == everything(swept[1])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"metric": "f1:macro"}, "f1:macro is no formula per sample"),
        ({"step": own_step}, "the step is the user's own"),
        (
            {"metric": lambda o, y: (o.argmax(1) == y).sum(), "higher_is_better": True},
            "does not give tensors per sample",
        ),
    ],
)
def test_what_does_not_qualify_is_said(
    options: dict[str, Any], why: str, two: nn.Module
) -> None:
    ranking = ranked(two, inputs(), PARTS, **options)
    assert settled(ranking) == 0
    assert why in notes(ranking)
    assert {row.n for row in ranking.rows} == {22}


def test_variants_that_run_by_themselves_are_said(
    two: nn.Module, resident: str, swept: list[Swept], general: Callable[[], None]
) -> None:
    def narrow(output: Tensor, inputs: Any) -> Tensor:
        if output.shape[1] < 8:
            raise ValueError("too narrow")
        return torch.zeros_like(output)

    fast, _ = both(general, two, inputs(20), mode=narrow, on_error="skip")
    assert settled(fast) == 0
    assert "1 variants run by themselves" in notes(fast)
    assert everything(swept[0]) == everything(swept[1])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"mode": lambda output, inputs: output * 0}, "mode='callable' may look"),
        ({"metric": looking, "higher_is_better": True}, "looking looks at values"),
    ],
)
def test_functions_of_the_users_own_are_not_recorded(
    options: dict[str, Any],
    why: str,
    two: nn.Module,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_together, "evaluator_class", lambda name: RECORDER)
    ranking = ranked(two, inputs(), PARTS, **options)
    assert settled(ranking) == 0
    assert why in notes(ranking)


def test_a_cuda_graph_needs_a_cuda_device(two: nn.Module) -> None:
    with pytest.raises(BackendError, match=r"Engine\(device='cuda'"):
        ranked(two, inputs(), PARTS, backend="cudagraph")


@pytest.mark.parametrize("enough", [True, False])
def test_less_is_recorded_at_a_time_where_memory_does_not_suffice(
    enough: bool,
    two: nn.Module,
    swept: list[Swept],
    general: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[int] = []

    def narrow(body: Callable[[], None]) -> Callable[[], None]:
        tried.append(1)
        if len(tried) < 3 or not enough:
            try:
                raise torch.OutOfMemoryError("not so much")
            except torch.OutOfMemoryError:
                raise RuntimeError("the recording is broken") from None
        return rehearse(body)

    evaluator = partial(CudaGraphEvaluator, recorder=narrow)
    monkeypatch.setattr(_together, "evaluator_class", lambda name: evaluator)
    monkeypatch.setattr(Planner, "_fastest", lambda *args: Choice(4))
    fast, plain = both(general, two, inputs(20), metric="cross_entropy")
    assert settled(fast) == (3 if enough else 0)
    assert ("memory does not suffice" in notes(fast)) is not enough
    assert len(tried) == 3 or not enough
    provenance: Any = fast.provenance
    assert provenance["plan"]["stack"] == {"5": 1}
    close(fast, plain)
