"""Functions of the user's own: per sample, per batch, several at once."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from surgery.engine._metrics import make_metrics
from surgery.errors import DataError
from surgery.stats import Effect, paired_means

N = 100
BEFORE, AFTER, LABELS = torch.randn(
    3, N, generator=torch.Generator().manual_seed(0)
).unbind()


def run(
    function: Any, higher: Any = False, failed: Tensor | None = None, size: int = 30
) -> dict[str, Effect]:
    (metric,) = make_metrics(function, higher)
    sides = metric.start(), metric.start()
    for start in range(0, N, size):
        rows = slice(start, start + size)
        sides[0].update(BEFORE[rows], LABELS[rows])
        mask = None if failed is None else failed[rows]
        sides[1].update(AFTER[rows], LABELS[rows], mask)
    return metric.compare(*sides, confidence=0.95, seed=0)


def distance(outputs: Tensor, labels: Tensor) -> Tensor:
    return (outputs - labels).abs()


def test_values_per_sample_are_paired() -> None:
    effects = run(distance)
    before, after = distance(BEFORE, LABELS), distance(AFTER, LABELS)
    assert list(effects) == ["distance"]
    assert effects["distance"] == paired_means(before.numpy(), after.numpy())


def test_arrays_and_gradients_do_no_harm() -> None:
    expected = run(distance)["distance"]
    as_array = run(lambda o, y: distance(o, y).numpy())["metric"]
    as_graph = run(lambda o, y: distance(o, y).requires_grad_())["metric"]
    assert as_array == as_graph == expected


def test_one_number_per_batch_is_averaged_by_size_and_compared_by_batch() -> None:
    effect = run(lambda o, y: distance(o, y).mean())["metric"]
    assert effect.baseline == pytest.approx(float(distance(BEFORE, LABELS).mean()))
    assert effect.value == pytest.approx(float(distance(AFTER, LABELS).mean()))
    assert effect.n == N and effect.method.endswith("over batches")
    rows = [slice(s, s + 30) for s in range(0, N, 30)]
    truth = paired_means(
        np.array([float(distance(BEFORE[r], LABELS[r]).mean()) for r in rows]),
        np.array([float(distance(AFTER[r], LABELS[r]).mean()) for r in rows]),
        np.array([30, 30, 30, 10]),
    )
    assert (effect.low, effect.p) == pytest.approx((truth.low, truth.p), rel=1e-5)
    same = run(lambda o, y: float(distance(o, y).mean()))["metric"]
    assert same.delta == pytest.approx(effect.delta)


def test_a_dict_gives_an_effect_per_name_with_its_own_direction() -> None:
    def both(outputs: Tensor, labels: Tensor) -> dict[str, Any]:
        return {
            "error": distance(outputs, labels),
            "close": distance(outputs, labels) < 0.5,
            "scale": outputs.abs().mean(),
        }

    directions = {"error": False, "close": True, "scale": True}
    effects = run(both, directions)
    assert list(effects) == ["error", "close", "scale"]
    assert "McNemar" in effects["close"].method
    assert "over batches" in effects["scale"].method
    (metric,) = make_metrics(both, directions)
    assert [metric.direction(name) for name in effects] == [False, True, True]
    assert make_metrics(both, True)[0].direction("error") is True


def test_a_name_without_direction_is_asked_for() -> None:
    (metric,) = make_metrics(lambda o, y: {"a": o, "b": y}, {"a": True})
    with pytest.raises(DataError, match=r"gives 'b', whose direction is unknown"):
        metric.start().update(BEFORE, LABELS)


@pytest.mark.parametrize(("higher", "worst"), [(False, torch.max), (True, torch.min)])
def test_a_failed_sample_has_the_worst_value_seen(higher: bool, worst: Any) -> None:
    failed = torch.arange(N) % 4 == 0
    before, after = distance(BEFORE, LABELS), distance(AFTER, LABELS)
    bad = worst(torch.cat([before, after[~failed]]))
    effect = run(distance, higher, failed)["distance"]
    expected = torch.where(failed, bad, after).mean()
    assert effect.value == pytest.approx(float(expected))


def test_a_value_that_is_nan_in_the_variant_counts_as_failed() -> None:
    (metric,) = make_metrics(distance, False)
    baseline, variant = metric.start(), metric.start()
    outputs = BEFORE.clone()
    outputs[3] = math.nan
    baseline.update(BEFORE, LABELS)
    variant.update(outputs, LABELS)
    assert (baseline.failed, variant.failed, variant.samples) == (0, 1, N)
    effect = metric.compare(baseline, variant, confidence=0.95, seed=0)["distance"]
    worst = distance(BEFORE, LABELS).max()
    moved = (worst - distance(BEFORE, LABELS)[3]) / N
    assert effect.delta == pytest.approx(float(moved), abs=1e-6)
    # In the baseline it says nothing about a variant.
    swapped = metric.compare(variant, baseline, confidence=0.95, seed=0)["distance"]
    assert swapped.n == N - 1 and swapped.delta == 0


def test_a_failed_sample_spoils_a_number_per_batch() -> None:
    failed = torch.arange(N) == 50
    effect = run(lambda o, y: distance(o, y).mean(), failed=failed)["metric"]
    assert math.isnan(effect.value) and math.isfinite(effect.baseline)
    assert effect.method.startswith("failed")


def test_functions_get_what_the_step_returned() -> None:
    seen: list[Any] = []

    def look(outputs: Any, labels: Any) -> Tensor:
        seen.append((outputs, labels))
        return torch.ones(len(labels))

    outputs = {"boxes": [1, 2]}
    labels = [{"a": 1}, {"a": 2}]
    (metric,) = make_metrics(look, True)
    metric.start().update(outputs, labels)
    assert seen[0][0] is outputs and seen[0][1] is labels


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda o, y: "good", "value of type str; return a tensor"),
        (lambda o, y: None, "value of type NoneType"),
        (lambda o, y: o[:, None], r"shape \(100, 1\) for a batch of 100.*\(100,\)"),
        (lambda o, y: o[:3], r"shape \(3,\) for a batch of 100"),
        (lambda o, y: 1 / 0, r"'metric' raised ZeroDivisionError.*\n.*\(100,\)"),
    ],
)
def test_what_a_function_may_not_return(function: Any, message: str) -> None:
    (metric,) = make_metrics(function, True)
    with pytest.raises(DataError, match=message):
        metric.start().update(BEFORE, LABELS)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"b": BEFORE}, r"gave \['a'\] at first, then \['b'\]"),
        ({"a": 1.0}, "a tensor at first, then a scalar"),
    ],
)
def test_a_function_must_not_change_its_mind(second: Any, message: str) -> None:
    answers = iter([{"a": BEFORE}, second])
    (metric,) = make_metrics(lambda o, y: next(answers), {"a": True})
    outcome = metric.start()
    outcome.update(BEFORE, LABELS)
    with pytest.raises(DataError, match=message):
        outcome.update(BEFORE, LABELS)


def test_values_on_their_own() -> None:
    (metric,) = make_metrics(lambda o, y: {"a": o, "b": o.mean()}, True)
    outcome = metric.start()
    outcome.update(BEFORE[:30], LABELS[:30])
    outcome.update(BEFORE[30:], LABELS[30:])
    mean = float(BEFORE.mean())
    assert outcome.values() == pytest.approx({"a": mean, "b": mean}, abs=1e-6)
