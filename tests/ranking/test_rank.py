"""`rank` against a plain loop: deepcopy, a forward edited by hand, the metric whole."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics.functional as tmf
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import surgery
from surgery.errors import (
    DataError,
    NoEffectError,
    OperationError,
    SurgeryError,
    TargetError,
)

BLOCKS = ["layer1.0", "layer2.0", "layer3.0", "layer4.0"]
Pair = tuple[Tensor, Tensor]


@torch.no_grad()
def outputs_without(
    model: Any, block: str | None, images: Tensor, kept: float = 0.0
) -> Tensor:
    """A timm ResNet's forward, edited by hand: one block gives (nearly) nothing."""
    model = copy.deepcopy(model)
    x = model.maxpool(model.act1(model.bn1(model.conv1(images))))
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        for place, part in enumerate(getattr(model, stage)):
            x = part(x)
            if f"{stage}.{place}" == block:
                x = kept * x
    return model.forward_head(x)  # type: ignore[no-any-return]


CLASSIFICATION: dict[str, Callable[..., Tensor]] = {
    "accuracy": lambda o, y: tmf.accuracy(o, y, "multiclass", num_classes=5),
    "accuracy@2": lambda o, y: tmf.accuracy(
        o, y, "multiclass", num_classes=5, top_k=2, average="micro"
    ),
    "error_rate": lambda o, y: 1 - tmf.accuracy(o, y, "multiclass", num_classes=5),
    "f1:macro": lambda o, y: tmf.f1_score(
        o, y, "multiclass", num_classes=5, average="macro"
    ),
    "precision:macro": lambda o, y: tmf.precision(
        o, y, "multiclass", num_classes=5, average="macro"
    ),
    "recall:macro": lambda o, y: tmf.recall(
        o, y, "multiclass", num_classes=5, average="macro"
    ),
    "cross_entropy": nn.functional.cross_entropy,
    "perplexity": lambda o, y: nn.functional.cross_entropy(o, y).exp(),
}
REGRESSION: dict[str, Callable[..., Tensor]] = {
    "mse": tmf.mean_squared_error,
    "rmse": lambda o, y: tmf.mean_squared_error(o, y, squared=False),
    "mae": tmf.mean_absolute_error,
    "r2": tmf.r2_score,
    "spearman": tmf.spearman_corrcoef,
    "pearson": tmf.pearson_corrcoef,
}


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_rank_equals_a_plain_loop_for_every_classification_metric(
    model: nn.Module, pairs: Pair, name: str
) -> None:
    images, labels = pairs
    ranking = surgery.rank(model, pairs, BLOCKS, metric=name, progress=False)
    baseline = float(CLASSIFICATION[name](outputs_without(model, None, images), labels))
    assert {row.component for row in ranking} == set(BLOCKS)
    for row in ranking:
        edited = outputs_without(model, row.component, images)
        value = float(CLASSIFICATION[name](edited, labels))
        assert math.isclose(row.baseline, baseline, rel_tol=1e-6, abs_tol=1e-6)
        assert math.isclose(row.value, value, rel_tol=1e-6, abs_tol=1e-6)
        assert math.isclose(row.delta, value - baseline, rel_tol=1e-5, abs_tol=1e-6)
        assert row.low <= row.delta <= row.high
        assert row.n == 150


@pytest.mark.parametrize("name", REGRESSION)
def test_rank_equals_a_plain_loop_for_every_regression_metric(
    model: nn.Module, pairs: Pair, name: str
) -> None:
    images, _ = pairs
    reference = outputs_without(model, None, images)[:, 0]
    noise = torch.randn(150, generator=torch.Generator().manual_seed(3))
    labels = reference + 0.5 * reference.std() * noise

    def step(net: nn.Module, batch: Pair) -> Pair:
        return net(batch[0])[:, 0], batch[1]

    # Without a block of this chain outputs are constant, which have no correlation.
    ranking = surgery.rank(
        model,
        (images, labels),
        BLOCKS,
        dial=0.75,
        metric=name,
        step=step,
        progress=False,
    )
    for row in ranking:
        edited = outputs_without(model, row.component, images, kept=0.25)[:, 0]
        value = float(REGRESSION[name](edited.double(), labels.double()))
        baseline = float(REGRESSION[name](reference.double(), labels.double()))
        assert math.isclose(row.value, value, rel_tol=1e-6, abs_tol=1e-6)
        assert math.isclose(row.baseline, baseline, rel_tol=1e-6, abs_tol=1e-6)


def test_several_metrics_in_groups_come_from_one_sweep(
    model: nn.Module, pairs: Pair
) -> None:
    seen: list[int] = []

    def step(net: nn.Module, batch: Pair) -> Pair:
        seen.append(len(batch[1]))
        return net(batch[0]), batch[1]

    ranking = surgery.rank(
        model,
        pairs,
        BLOCKS,
        metric={"quality": ["accuracy", "f1:macro"], "loss": "cross_entropy"},
        step=step,
        progress=False,
    )
    forwards = 1 + 3 * (1 + len(BLOCKS))  # one recorded, then 3 batches
    assert len(seen) == forwards
    groups = {(row.group, row.metric) for row in ranking}
    assert groups == {
        ("quality", "accuracy"),
        ("quality", "f1:macro"),
        ("loss", "cross_entropy"),
    }
    assert str(ranking).count("without each component") >= 2


class Counted(TensorDataset):
    """Counts how often each sample is loaded."""

    def __init__(self, *parts: Tensor) -> None:
        super().__init__(*parts)
        self.loads = [0] * len(parts[0])

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        self.loads[index] += 1
        return tuple(tensor[index] for tensor in self.tensors)


@pytest.mark.parametrize(("mode", "passes"), [("zero", 1), ("mean", 2)])
def test_each_sample_is_loaded_once_per_pass(
    model: nn.Module, pairs: Pair, mode: str, passes: int
) -> None:
    dataset = Counted(*pairs)
    loader = DataLoader(dataset, batch_size=40, shuffle=True)
    surgery.rank(model, loader, BLOCKS, mode=mode, progress=False)
    assert dataset.loads == [passes] * 150


def test_a_one_shot_iterable_is_enough_where_one_pass_is(
    model: nn.Module, pairs: Pair
) -> None:
    images, labels = pairs

    def stream() -> Iterator[Pair]:
        yield from zip(images.split(50), labels.split(50), strict=True)

    once = surgery.rank(model, stream(), BLOCKS, progress=False)
    assert once.top(1)[0].n == 150
    with pytest.raises(DataError, match="pass a list of batches or a DataLoader"):
        surgery.rank(model, stream(), BLOCKS, mode="mean", progress=False)


def test_data_may_be_arrays_mappings_or_a_dataset(
    model: nn.Module, pairs: Pair
) -> None:
    images, labels = pairs
    ways: list[object] = [
        pairs,
        (images.numpy(), labels.numpy()),
        TensorDataset(*pairs),
        [
            {"x": images[:70], "labels": labels[:70]},
            {"x": images[70:], "labels": labels[70:]},
        ],
    ]
    values = [
        [row.value for row in surgery.rank(model, way, BLOCKS, progress=False)]
        for way in ways
    ]
    assert all(value == values[0] for value in values)


def test_rank_leaves_model_and_random_numbers_as_they_were(
    model: nn.Module, pairs: Pair
) -> None:
    before = {k: v.clone() for k, v in model.state_dict().items()}
    torch.manual_seed(5)
    np.random.seed(5)
    state, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    loader = DataLoader(TensorDataset(*pairs), batch_size=50, shuffle=True)
    for mode in ("zero", "reinit", "noise"):
        surgery.rank(model, loader, BLOCKS, mode=mode, progress=False)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], legacy)  # type: ignore[index]
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[k], before[k]) for k in before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("mode", ["zero", "noise", "resample", "reinit"])
def test_a_seed_sets_everything(model: nn.Module, pairs: Pair, mode: str) -> None:
    loader = DataLoader(TensorDataset(*pairs), batch_size=50, shuffle=True)

    def ranked(seed: int) -> list[float]:
        ranking = surgery.rank(
            model,
            loader,
            BLOCKS,
            mode=mode,
            metric="cross_entropy",
            seed=seed,
            progress=False,
        )
        return [row.value for row in ranking]

    assert ranked(1) == ranked(1)
    if mode != "zero":
        assert ranked(1) != ranked(2)


def test_variants_see_common_random_numbers(pairs: Pair) -> None:
    class Lucky(nn.Module):
        """Its output has luck in it, in eval mode too; one part does nothing."""

        def __init__(self) -> None:
            super().__init__()
            self.idle = nn.Identity()
            self.head = nn.Linear(24 * 24, 5)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.head(self.idle(x.flatten(1)))
            return logits + torch.randn_like(logits)

    ranking = surgery.rank(
        Lucky().eval(), pairs, "idle", mode="identity", progress=False
    )
    (row,) = ranking
    assert row.delta == 0
    assert row.effect == "none"
    assert row.verdict == "inconclusive"


def test_effect_tells_how_far_an_operation_reached(pairs: Pair) -> None:
    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Linear(576, 5)
            self.same = nn.Identity()
            self.used = nn.Linear(576, 5)

        def forward(self, x: Tensor) -> Tensor:
            x = self.same(x.flatten(1))
            self.unused(x)
            return self.used(x)  # type: ignore[no-any-return]

    model = Parts().eval()
    ranking = surgery.rank(
        model, pairs, ["unused", "same", "used"], mode="identity", progress=False
    )
    reach = {row.component: row.effect for row in ranking}
    assert reach == {"unused": "local", "same": "none", "used": "full"}
    adapters = {row.component: row.note for row in ranking}
    assert adapters["used"] == "adapter: pad last axis"


def test_a_container_is_one_row_per_child_and_a_list_inside_is_one_group(
    pairs: Pair,
) -> None:
    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(nn.Linear(576, 576) for _ in range(3))
            self.head = nn.Linear(576, 5)

        def forward(self, x: Tensor) -> Tensor:
            x = x.flatten(1)
            for block in self.blocks:
                x = x + block(x)
            return self.head(x)  # type: ignore[no-any-return]

    model = Stack().eval()
    ranking = surgery.rank(
        model, pairs, ["blocks", ["blocks.0", "blocks.2"]], progress=False
    )
    assert {row.component for row in ranking} == {
        "blocks.0",
        "blocks.1",
        "blocks.2",
        "blocks.0 + blocks.2",
    }


def test_verdicts_follow_the_direction_of_the_metric(
    model: nn.Module, pairs: Pair
) -> None:
    by_name = {
        metric: surgery.rank(
            model, pairs, "layer4.0", metric=metric, progress=False
        ).top(1)[0]
        for metric in ("accuracy", "error_rate")
    }
    assert by_name["accuracy"].delta < 0 < by_name["error_rate"].delta
    assert {row.verdict for row in by_name.values()} == {"important"}


def test_a_wrapped_model_is_ranked_as_the_plain_one(
    model: nn.Module, pairs: Pair
) -> None:
    plain = surgery.rank(model, pairs, BLOCKS, progress=False)
    wrapped = surgery.rank(nn.DataParallel(model), pairs, BLOCKS, progress=False)
    assert plain.rows == wrapped.rows


def test_dial_dampens(model: nn.Module, pairs: Pair) -> None:
    images, labels = pairs
    ranking = surgery.rank(
        model, pairs, "layer4.0", dial=0.25, metric="cross_entropy", progress=False
    )
    with surgery.ablate(model, "layer4.0", dial=0.25), torch.no_grad():
        truth = float(nn.functional.cross_entropy(model(images), labels))
    assert math.isclose(ranking.top(1)[0].value, truth, rel_tol=1e-5)


# Bad input


def test_an_unknown_target_names_the_nearest(model: nn.Module, pairs: Pair) -> None:
    with pytest.raises(TargetError, match=r"layer3\.0"):
        surgery.rank(model, pairs, "layer3.O", progress=False)


def test_a_part_that_never_runs_is_refused_before_the_sweep(pairs: Pair) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(576, 5)).eval()
    model[1].spare = nn.Linear(2, 2)
    with pytest.raises(NoEffectError, match=r"'1\.spare' never runs in this forward"):
        surgery.rank(model, pairs, ["1", "1.spare"], progress=False)
    ranking = surgery.rank(model, pairs, "**[Linear]", progress=False)
    assert [row.component for row in ranking] == ["1"]
    assert ranking.skipped == ({"component": "1.spare", "cause": "never called"},)


def test_empty_data_is_an_error(model: nn.Module) -> None:
    empty = torch.zeros(0, 1, 24, 24), torch.zeros(0, dtype=torch.long)
    nothing: list[object] = [[], empty]
    for data in nothing:
        with pytest.raises(DataError, match=r"empty|no batch|no sample"):
            surgery.rank(model, data, BLOCKS, progress=False)


def test_labels_of_the_wrong_shape_are_an_error(model: nn.Module, pairs: Pair) -> None:
    with pytest.raises(DataError, match="labels"):
        surgery.rank(model, (pairs[0], torch.zeros(150, 7)), BLOCKS, progress=False)


def test_a_model_in_train_mode_is_refused(model: nn.Module, pairs: Pair) -> None:
    with pytest.raises(OperationError, match=r"call model\.eval\(\) first"):
        surgery.rank(model.train(), pairs, BLOCKS, progress=False)
    model.eval()
    model.get_submodule("layer1.0.bn1").train()
    with pytest.raises(OperationError, match=r"layer1\.0\.bn1 would be active"):
        surgery.rank(model, pairs, BLOCKS, progress=False)
    dropped = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(576, 5)).eval()
    dropped[1].train()
    with pytest.raises(OperationError, match="train mode"):
        surgery.rank(dropped, pairs, "2", progress=False)


def test_freezing_cannot_be_ranked(model: nn.Module, pairs: Pair) -> None:
    with pytest.raises(OperationError, match=r"surgery\.freeze"):
        surgery.rank(model, pairs, BLOCKS, mode="freeze", progress=False)


def test_a_metric_that_raises_is_named(model: nn.Module, pairs: Pair) -> None:
    def broken(outputs: Tensor, labels: Tensor) -> Tensor:
        raise ZeroDivisionError("no luck")

    with pytest.raises(DataError, match=r"broken.*\n?.*no luck") as caught:
        surgery.rank(
            model, pairs, BLOCKS, metric=broken, higher_is_better=True, progress=False
        )
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


class Sick(nn.Module):
    """Gives NaN for marked samples; raises for others, or only without `part`."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Linear(4, 4, bias=False)
        self.head = nn.Linear(4, 3)
        nn.init.eye_(self.part.weight)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.part(x))
        if bool((x[:, 0] == 66).any()):
            raise RuntimeError("sample of evil")
        alive = self.part(x)
        if bool(((x[:, 1] == 77) & (alive[:, 1] == 0)).any()):
            raise RuntimeError("cannot do without part")
        return torch.where((x[:, :1] == 55), torch.nan, logits)


def sick_data(**marks: int) -> Pair:
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    for place, value in marks.items():
        row, column = map(int, place[1:].split("_"))
        x[row, column] = value
    return x, torch.arange(20) % 3


def test_nan_logits_are_an_error_unless_skipped() -> None:
    data = sick_data(s3_0=55)
    with pytest.raises(DataError, match=r"not finite.*sample 3.*on_error='skip'"):
        surgery.rank(Sick().eval(), data, "part", progress=False)
    ranking = surgery.rank(Sick().eval(), data, "part", on_error="skip", progress=False)
    assert ranking.top(1)[0].n == 19
    assert ranking.failures == (
        {"component": None, "sample": 3, "cause": "its output is not finite"},
    )


def test_a_sample_that_raises_in_the_baseline_leaves_all_variants() -> None:
    data = sick_data(s3_0=66, s12_0=66)
    with pytest.raises(SurgeryError, match=r"untouched model.*sample of evil"):
        surgery.rank(Sick().eval(), data, "part", progress=False)
    batches = list(zip(data[0].split(8), data[1].split(8), strict=True))
    with pytest.raises(SurgeryError, match=r"samples 4 to 11.*sample of evil"):
        surgery.rank(Sick().eval(), batches[::-1], "part", progress=False)
    ranking = surgery.rank(Sick().eval(), data, "part", on_error="skip", progress=False)
    assert ranking.top(1)[0].n == 18
    assert [failure["sample"] for failure in ranking.failures] == [3, 12]


def test_a_sample_that_fails_only_under_ablation_counts_against_it() -> None:
    torch.manual_seed(0)
    model = Sick().eval()
    data = sick_data(s5_1=77)
    with pytest.raises(SurgeryError, match=r"without part.*cannot do without part"):
        surgery.rank(model, data, "part", progress=False)
    ranking = surgery.rank(
        model, data, "part", on_error="skip", metric="error_rate", progress=False
    )
    (row,) = ranking
    assert row.n == 20
    assert row.failed == 1
    assert ranking.failures == (
        {
            "component": "part",
            "sample": 5,
            "cause": "RuntimeError: cannot do without part",
        },
    )
    with torch.no_grad():
        wrong = model.head(torch.zeros(20, 4)).argmax(1) != data[1]
    wrong[5] = True
    assert math.isclose(row.value, float(wrong.float().mean()), abs_tol=1e-6)


def test_what_cannot_be_operated_on_is_skipped_and_shown(
    model: nn.Module, pairs: Pair
) -> None:
    with pytest.raises(OperationError, match="no parameters"):
        surgery.rank(model, pairs, ["layer1.0", "act1"], mode="reinit", progress=False)
    ranking = surgery.rank(
        model,
        pairs,
        ["layer1.0", "act1"],
        mode="reinit",
        on_error="skip",
        progress=False,
    )
    assert [row.component for row in ranking] == ["layer1.0"]
    assert [s["component"] for s in ranking.skipped] == ["act1"]


def test_an_interrupt_keeps_what_was_measured(model: nn.Module, pairs: Pair) -> None:
    import os
    import signal

    forwards = 0

    def step(net: nn.Module, batch: Pair) -> Pair:
        nonlocal forwards
        forwards += 1
        if forwards == 8:  # in the second batch: 1 recorded, 5 in the first
            os.kill(os.getpid(), signal.SIGINT)
        return net(batch[0]), batch[1]

    with pytest.warns(UserWarning, match="first 128 samples"):
        ranking = surgery.rank(model, pairs, BLOCKS, step=step, progress=False)
    assert {row.n for row in ranking} == {128}
    data = ranking.provenance["data"]
    assert isinstance(data, dict)
    assert data["interrupted"] is True
