"""Rankings by the fused program and by replay, against those variant by variant."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import surgery
from surgery import Engine
from surgery.engine import _makeshift, _together
from surgery.errors import BackendError, DataError
from surgery.ranking import Ranking
from surgery_backends.fused._bench import Bench

Pair = tuple[Tensor, Tensor]


def ranked(model: nn.Module, data: Any, backend: str, **options: Any) -> Ranking:
    settings: dict[str, Any] = {"progress": False, "engine": Engine(backend=backend)}
    targets = options.pop("targets", ["layer*.*", "layer*.*:branch"])
    return surgery.rank(model, data, targets, **settings, **options)


def rows(ranking: Ranking) -> list[dict[str, Any]]:
    frame: Any = ranking.to_pandas()
    found: list[dict[str, Any]] = frame.to_dict("records")
    return found


def plan_of(ranking: Ranking) -> dict[str, Any]:
    provenance: Any = ranking.provenance
    found: dict[str, Any] = provenance["plan"]
    return found


def evaluator(ranking: Ranking) -> str:
    return str(plan_of(ranking)["evaluator"])


def batches(pairs: Pair, size: int) -> list[Pair]:
    images, labels = pairs
    return list(zip(images.split(size), labels.split(size), strict=True))


@pytest.mark.parametrize("backend", ["fused", "replay"])
@pytest.mark.parametrize("mode", ["zero", "mean", "resample", "reinit"])
def test_rows_are_those_of_one_variant_after_the_other(
    model: nn.Module, pairs: Pair, mode: str, backend: str
) -> None:
    options: dict[str, Any] = {"mode": mode, "metric": ["accuracy", "cross_entropy"]}
    if mode == "reinit":
        options["targets"] = "layer*.*"
    fused = ranked(model, batches(pairs, 40), backend, **options)
    plain = ranked(model, batches(pairs, 40), "auto", **options)
    assert evaluator(fused) == backend
    assert evaluator(plain) == "one by one"
    for ours, theirs in zip(rows(fused), rows(plain), strict=True):
        for column in ours:
            # Small effects are told from none by what rounding changes, too.
            near = 1e-3 if column.startswith("p") else 1e-5
            assert ours[column] == pytest.approx(theirs[column], abs=near, nan_ok=True)


def test_batches_of_one_sample_are_stacked_too(model: nn.Module, pairs: Pair) -> None:
    data = batches((pairs[0][:4], pairs[1][:4]), 1)
    fused = ranked(model, data, "fused", metric="cross_entropy")
    plain = ranked(model, data, "auto", metric="cross_entropy")
    for ours, theirs in zip(rows(fused), rows(plain), strict=True):
        assert ours["value"] == pytest.approx(theirs["value"], abs=1e-5)


def test_every_batch_is_loaded_once(model: nn.Module, pairs: Pair) -> None:
    loaded: list[int] = []

    class Data(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 60

        def __getitem__(self, index: int) -> Any:
            loaded.append(index)
            return pairs[0][index], pairs[1][index]

    loader = torch.utils.data.DataLoader(Data(), batch_size=25)
    ranked(model, loader, "fused")
    assert sorted(loaded) == list(range(60))


def test_a_step_may_do_what_it_likes_around_the_model(
    model: nn.Module, pairs: Pair
) -> None:
    def step(model: nn.Module, batch: Pair) -> tuple[Tensor, Tensor]:
        images, labels = batch
        return model(images * 0.5).log_softmax(-1)[:, :4], labels.clamp(max=3)

    fused = ranked(model, batches(pairs, 50), "fused", step=step)
    plain = ranked(model, batches(pairs, 50), "auto", step=step)
    assert [r["value"] for r in rows(fused)] == [r["value"] for r in rows(plain)]


def twice(model: nn.Module, batch: Pair) -> tuple[Tensor, Tensor]:
    return model(batch[0]) + model(batch[0].flip(-1)), batch[1]


def by_parts(model: Any, batch: Pair) -> tuple[Tensor, Tensor]:
    extra = model.fc(torch.ones(len(batch[0]), 96))
    return model(batch[0]) + extra, batch[1]


@pytest.mark.parametrize(
    ("step", "why"),
    [(twice, "calls the model 2 times"), (by_parts, "calls parts of the model")],
)
def test_steps_that_one_output_does_not_cover_are_refused(
    model: nn.Module, pairs: Pair, step: Any, why: str
) -> None:
    with pytest.raises(BackendError, match=why):
        ranked(model, batches(pairs, 50), "fused", step=step)


@pytest.mark.parametrize("backend", ["fused", "replay"])
def test_a_model_with_hooks_on_itself_is_refused(
    model: nn.Module, pairs: Pair, backend: str
) -> None:
    def double(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return output * 2

    model.register_forward_hook(double)
    with pytest.raises(BackendError, match="forward hooks on itself"):
        ranked(model, batches(pairs, 50), backend)


def test_a_sample_that_fails_is_left_out_everywhere(
    model: nn.Module, pairs: Pair
) -> None:
    images = pairs[0].clone()
    images[7] = float("nan")
    data = batches((images, pairs[1]), 50)
    fused = ranked(model, data, "fused", on_error="skip")
    plain = ranked(model, data, "auto", on_error="skip")
    assert fused.provenance["failures"] == plain.provenance["failures"]
    assert {r["n"] for r in rows(fused)} == {149}
    with pytest.raises(DataError, match="sample 7"):
        ranked(model, data, "fused")


def test_an_operation_that_fails_in_one_variant_leaves_the_others(
    model: nn.Module, pairs: Pair
) -> None:
    def picky(output: Tensor, inputs: Any) -> Tensor:
        if output.shape[1] > 24:
            raise ValueError("too wide")
        return torch.zeros_like(output)

    options: dict[str, Any] = {"mode": picky, "on_error": "skip"}
    fused = ranked(model, batches(pairs, 50), "fused", **options)
    plain = ranked(model, batches(pairs, 50), "auto", **options)
    assert [r["failed"] for r in rows(fused)] == [r["failed"] for r in rows(plain)]
    assert [r["value"] for r in rows(fused)] == [r["value"] for r in rows(plain)]


def test_a_batch_that_fails_in_the_program_runs_variant_by_variant(
    model: nn.Module, pairs: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("no kernel")

    monkeypatch.setattr(Bench, "run", fail)
    fused = ranked(model, batches(pairs, 50), "fused")
    plain = ranked(model, batches(pairs, 50), "auto")
    assert rows(fused) == rows(plain)
    provenance: Any = fused.provenance
    assert provenance["plan"]["notes"] == ["not fused: RuntimeError: no kernel"]


def test_a_part_that_changes_nothing_is_not_said_to_reach_the_output(
    model: nn.Module, pairs: Pair
) -> None:
    with torch.no_grad():
        model.get_parameter("layer1.0.bn2.weight").zero_()
        model.get_parameter("layer1.0.bn2.bias").zero_()
    ranking = ranked(model, batches(pairs, 50), "fused", targets="layer*.*:branch")
    reach = {row["component"]: row["effect"] for row in rows(ranking)}
    assert reach.pop(next(n for n in reach if n.startswith("layer1.0:"))) == "none"
    assert set(reach.values()) == {"full"}


def test_a_small_sweep_is_not_worth_a_graph(model: nn.Module, pairs: Pair) -> None:
    ranking = ranked(model, batches(pairs, 50), "auto")
    assert evaluator(ranking) == "one by one"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs no preparation pays at once."""
    monkeypatch.setattr(_makeshift, "_FORWARDS", 1)
    monkeypatch.setattr(_makeshift, "_SECONDS", 0)


@pytest.mark.parametrize("mode", ["zero", "resample", "noise"])
def test_within_the_first_batch_replay_takes_over(
    model: nn.Module,
    pairs: Pair,
    mode: str,
    request: pytest.FixtureRequest,
) -> None:
    data = batches(pairs, 50)
    plain = ranked(model, data, "auto", mode=mode, metric="cross_entropy")
    assert evaluator(plain) == "one by one"
    request.getfixturevalue("hasty")
    ranking = ranked(model, data, "auto", mode=mode, metric="cross_entropy")
    assert evaluator(ranking) == "replay"
    assert plan_of(ranking)["since"] == 0
    assert rows(ranking) == rows(plain)
    again = surgery.rank(
        model,
        data,
        ["layer*.*", "layer*.*:branch"],
        mode=mode,
        metric="cross_entropy",
        engine=Engine(plan=plan_of(ranking)),
        progress=False,
    )
    assert rows(again) == rows(plain)


@pytest.mark.usefixtures("hasty")
def test_what_pays_for_its_preparation_takes_over_from_replay(
    model: nn.Module, pairs: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_SECONDS", "_SECONDS_PER_MODULE", "_BATCHES"):
        monkeypatch.setattr(_together, name, 0)
    ranking = ranked(model, batches(pairs, 40), "auto", metric="cross_entropy")
    assert evaluator(ranking) == "fused"
    assert plan_of(ranking)["since"] == 1


@pytest.mark.usefixtures("hasty")
def test_where_replay_cannot_be_variants_run_by_themselves(
    model: nn.Module, pairs: Pair
) -> None:
    model.register_forward_hook(lambda module, args, output: None)
    ranking = ranked(model, batches(pairs, 50), "auto")
    assert evaluator(ranking) == "one by one"
    assert "not replay: " in plan_of(ranking)["notes"][0]


def test_the_model_is_as_it_was(model: nn.Module, pairs: Pair) -> None:
    before = {name: x.clone() for name, x in model.state_dict().items()}
    ranked(model, batches(pairs, 50), "fused")
    assert all(torch.equal(before[name], x) for name, x in model.state_dict().items())
    assert "forward" not in model.__dict__
    assert not any(module._forward_hooks for module in model.modules())


def test_a_budget_that_is_no_number_of_bytes_is_refused() -> None:
    with pytest.raises(DataError, match="memory_budget"):
        Engine(memory_budget=0)
