"""Plans: shown, kept, and done again."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import surgery
from surgery import Engine
from surgery.errors import DataError
from surgery.ranking import Ranking

Batches = list[tuple[Tensor, Tensor]]
TARGETS = "layer*.*:branch"


@pytest.fixture
def data(pairs: tuple[Tensor, Tensor]) -> Batches:
    images, labels = pairs
    return list(zip(images[:90].split(40), labels[:90].split(40), strict=True))


def ranked(model: nn.Module, data: Batches, **engine: Any) -> Ranking:
    return surgery.rank(
        model,
        data,
        TARGETS,
        metric="cross_entropy",
        engine=Engine(**engine),
        progress=False,
    )


def plan_of(ranking: Ranking) -> dict[str, Any]:
    provenance: Any = ranking.provenance
    found: dict[str, Any] = provenance["plan"]
    return found


def test_a_plan_is_done_again(model: nn.Module, data: Batches) -> None:
    first = ranked(model, data, backend="fused")
    again = ranked(model, data, plan=plan_of(first))
    assert plan_of(again) | {"backend": "fused"} == plan_of(first)
    assert [r.value for r in again] == [r.value for r in first]


def test_what_a_plan_says_is_done(model: nn.Module, data: Batches) -> None:
    plan = plan_of(ranked(model, data, backend="fused"))
    plan |= {"stack": {"40": 2, "10": 3}, "passes": {"40": 2, "10": 1}, "since": 1}
    again = plan_of(ranked(model, data, plan=plan))
    assert (again["stack"], again["passes"]) == (plan["stack"], plan["passes"])
    assert again["since"] == 1


def test_a_plan_outlives_saving(model: nn.Module, data: Batches, tmp_path: Any) -> None:
    first = ranked(model, data, backend="fused")
    first.save(tmp_path / "ranking.json")
    loaded = Ranking.load(tmp_path / "ranking.json")
    again = ranked(model, data, plan=plan_of(loaded))
    assert [r.value for r in again] == [r.value for r in first]


def test_plans_of_something_else_are_refused(model: nn.Module, data: Batches) -> None:
    plan = plan_of(ranked(model, data, backend="fused"))
    with pytest.raises(DataError, match="plan is of 4 components, this ranking of 1"):
        surgery.rank(model, data, "layer1.0", engine=Engine(plan=plan), progress=False)
    with pytest.raises(DataError, match="batch 2 has 11 samples, and 10 by the plan"):
        last = data[0][0][:11], data[0][1][:11]
        ranked(model, [*data[:2], last], plan=plan)
    with pytest.raises(DataError, match="memory_format=None, this ranking has"):
        ranked(model, data, plan=plan, memory_format="channels_last")
    with pytest.raises(DataError, match="is provenance"):
        Engine(plan={"stack": {}})


def test_a_plan_is_explained(
    model: nn.Module, data: Batches, capsys: pytest.CaptureFixture[str]
) -> None:
    ranked(model, data, backend="fused", explain=True)
    text = capsys.readouterr().out
    assert "Plan for 4 variants" in text
    assert "evaluated: fused" in text
    ranked(model, data, explain=True)
    assert "evaluated: one by one" in capsys.readouterr().out


@pytest.mark.parametrize("backend", ["fused", "replay", "hooks"])
def test_a_memory_format_is_for_the_sweep_only(
    model: nn.Module, data: Batches, backend: str
) -> None:
    before = {k: (v.clone(), v.stride()) for k, v in model.state_dict().items()}
    places = {k: v.data_ptr() for k, v in model.state_dict().items()}
    seen: list[bool] = []

    def look(module: nn.Module, args: tuple[Tensor]) -> None:
        seen.append(args[0].is_contiguous(memory_format=torch.channels_last))

    handle = model.get_submodule("conv1").register_forward_pre_hook(look)
    targets = TARGETS if backend != "hooks" else "layer*.*"
    options: dict[str, Any] = {"metric": "cross_entropy", "progress": False}
    engine = Engine(backend=backend, memory_format="channels_last")
    ours = surgery.rank(model, data, targets, engine=engine, **options)
    handle.remove()
    assert seen and all(seen)
    plain = surgery.rank(model, data, targets, **options)
    for row, other in zip(ours, plain, strict=True):
        assert row.value == pytest.approx(other.value, abs=1e-5)
    for name, value in model.state_dict().items():
        assert torch.equal(before[name][0], value)
        assert (before[name][1], places[name]) == (value.stride(), value.data_ptr())


def test_a_memory_format_that_is_none_is_refused() -> None:
    with pytest.raises(DataError, match="memory_format must be one of 'channels_last'"):
        Engine(memory_format="nhwc")
