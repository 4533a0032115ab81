"""Torchmetrics metrics: the same value as on whole data, and never touched."""

import copy
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from surgery.engine._metrics import make_metrics
from surgery.errors import DataError
from surgery.stats import Effect

N, CLASSES = 130, 4
GENERATOR = torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Some metrics warn on construction that they keep all samples."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Metric `.*` will save all targets")
        yield


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def indices(seed: int, high: int, *shape: int) -> Tensor:
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(seed))


def run(
    metric: Any,
    before: Any,
    after: Any,
    labels: Any,
    higher: Any = None,
    failed: Tensor | None = None,
    total: int | None = None,
) -> dict[str, Effect]:
    (made,) = make_metrics(metric, higher)
    sides = made.start(total), made.start(total)
    for start in range(0, len(labels), 17):
        rows = slice(start, start + 17)
        sides[0].update(before[rows], labels[rows])
        mask = None if failed is None else failed[rows]
        sides[1].update(after[rows], labels[rows], mask)
    return made.compare(*sides, confidence=0.95, seed=0)


def classification() -> tuple[Tensor, Tensor, Tensor]:
    labels = indices(0, CLASSES, N)
    logits = draw(1, N, CLASSES) + 2 * torch.nn.functional.one_hot(labels, CLASSES)
    return logits, draw(2, N, CLASSES), labels


def regression() -> tuple[Tensor, Tensor, Tensor]:
    labels = draw(0, N)
    return labels + draw(1, N), draw(2, N), labels


def segmentation() -> tuple[Tensor, Tensor, Tensor]:
    labels = indices(0, CLASSES, N, 5, 6)
    logits = torch.nn.functional.one_hot(labels, CLASSES).movedim(-1, 1) * 2
    return logits + draw(1, N, CLASSES, 5, 6), draw(2, N, CLASSES, 5, 6), labels


Data = Callable[[], tuple[Tensor, Tensor, Tensor]]


def metrics() -> list[tuple[str, dict[str, Any], Data, bool]]:
    kinds: list[tuple[str, dict[str, Any], Data, bool]] = [
        ("classification.MulticlassF1Score", {"num_classes": 4}, classification, True),
        ("classification.MulticlassAUROC", {"num_classes": 4}, classification, True),
        (
            "classification.MulticlassAUROC",
            {"num_classes": 4, "thresholds": 20},
            classification,
            True,
        ),
        (
            "classification.MulticlassJaccardIndex",
            {"num_classes": 4},
            segmentation,
            True,
        ),
        (
            "classification.MulticlassCalibrationError",
            {"num_classes": 4},
            classification,
            False,
        ),
        ("Accuracy", {"task": "multiclass", "num_classes": 4}, classification, True),
        ("regression.PearsonCorrCoef", {}, regression, True),
        ("regression.SpearmanCorrCoef", {}, regression, True),
        ("regression.ConcordanceCorrCoef", {}, regression, True),
        ("regression.R2Score", {}, regression, True),
        ("regression.ExplainedVariance", {}, regression, True),
        ("regression.KendallRankCorrCoef", {}, regression, True),
        ("regression.MeanSquaredError", {"squared": False}, regression, False),
    ]
    return kinds


def build(path: str, options: dict[str, Any]) -> Any:
    import torchmetrics

    found: Any = torchmetrics
    for part in path.split("."):
        found = getattr(found, part)
    return found(**options)


@pytest.mark.parametrize(("path", "options", "data", "higher"), metrics())
@pytest.mark.parametrize("total", [None, 30])
def test_blocks_of_a_metric_equal_the_metric_on_whole_data(
    path: str, options: dict[str, Any], data: Data, higher: bool, total: int | None
) -> None:
    metric = build(path, options)
    before, after, labels = data()
    (effect,) = run(metric, before, after, labels, higher, total=total).values()
    for outputs, value in ((before, effect.baseline), (after, effect.value)):
        whole = build(path, options)
        whole.update(outputs, labels)
        assert value == pytest.approx(float(whole.compute()), abs=1e-6)
    assert effect.delta == effect.value - effect.baseline
    assert effect.low < effect.delta < effect.high
    assert (effect.p < 0.05) == (not effect.low <= 0 <= effect.high)
    assert effect.n == N


def test_the_users_metric_is_not_touched() -> None:
    from torchmetrics.regression import MeanSquaredError

    metric = MeanSquaredError()
    metric.update(torch.ones(3), torch.zeros(3))
    before = copy.deepcopy(metric.metric_state)
    effects = run(metric, *regression())
    assert list(effects) == ["MeanSquaredError"]
    assert metric.metric_state == before and metric._update_count == 1
    whole = MeanSquaredError()
    whole.update(regression()[0], regression()[2])
    assert effects["MeanSquaredError"].baseline == pytest.approx(float(whole.compute()))


def test_detection_is_scored_through_lists_of_dicts() -> None:
    pytest.importorskip("faster_coco_eval")
    from torchmetrics.detection import MeanAveragePrecision

    def boxes(seed: int, noise: float) -> list[dict[str, Tensor]]:
        corner = indices(0, 50, 12, 2, 2).float()
        moved = corner + noise * draw(seed, 12, 2, 2)
        return [
            {
                "boxes": torch.cat([xy, xy + 20 + i], 1),
                "labels": torch.tensor([0, 1]),
                "scores": torch.tensor([0.9, 0.8]),
            }
            for i, xy in enumerate(moved)
        ]

    labels, good, bad = boxes(0, 0), boxes(1, 0.5), boxes(2, 6)
    metric = MeanAveragePrecision(backend="faster_coco_eval")
    effects = run(metric, good, bad, labels, {"map": True, "map_50": True})
    assert list(effects) == ["map", "map_50"]
    whole = MeanAveragePrecision(backend="faster_coco_eval")
    whole.update(good, labels)
    expected = whole.compute()
    for name, effect in effects.items():
        assert effect.baseline == pytest.approx(float(expected[name]))
    assert effects["map"].delta < -0.1 and effects["map"].p < 0.01


def test_a_failed_sample_is_wrong_for_classification() -> None:
    from torchmetrics.classification import BinaryAccuracy, MulticlassAccuracy

    failed = torch.arange(N) % 3 == 0
    labels = indices(0, CLASSES, N)
    sure = 9.0 * torch.nn.functional.one_hot(labels, CLASSES)
    spoiled = sure.masked_fill(failed[:, None], math.nan)
    metric = MulticlassAccuracy(CLASSES, average="micro")
    (effect,) = run(metric, sure, spoiled, labels, failed=failed).values()
    assert effect.value == pytest.approx(float((~failed).float().mean()))

    binary = indices(1, 2, N)
    scores = (binary * 2 - 1) * 5.0
    garbage = scores.masked_fill(failed, math.nan)
    (effect,) = run(BinaryAccuracy(), scores, garbage, binary, failed=failed).values()
    assert effect.baseline == 1
    assert effect.value == pytest.approx(float((~failed).float().mean()))


def test_a_failed_sample_of_any_other_metric_leaves_no_value() -> None:
    from torchmetrics.regression import MeanSquaredError

    before, after, labels = regression()
    none, some = torch.zeros(N, dtype=torch.bool), torch.arange(N) == 100
    (fine,) = run(MeanSquaredError(), before, after, labels, failed=none).values()
    (bad,) = run(MeanSquaredError(), before, after, labels, failed=some).values()
    assert math.isfinite(fine.value)
    assert math.isnan(bad.value) and math.isnan(bad.delta) and bad.method == "failed"
    assert bad.baseline == fine.baseline


def test_failed_samples_are_counted_and_a_lone_value_is_nan() -> None:
    from torchmetrics.regression import MeanSquaredError

    (metric,) = make_metrics(MeanSquaredError())
    outcome = metric.start()
    outcome.update(torch.ones(4), torch.ones(4), torch.tensor([1, 0, 1, 0]).bool())
    assert (outcome.failed, outcome.samples) == (2, 4)
    assert math.isnan(outcome.values()["MeanSquaredError"])


def test_outputs_with_logits_are_unpacked_for_a_metric() -> None:
    from torchmetrics.classification import MulticlassAccuracy

    (metric,) = make_metrics(MulticlassAccuracy(CLASSES, average="micro"))
    outcome = metric.start()
    logits, _, labels = classification()
    outcome.update({"loss": torch.tensor(1.0), "logits": logits}, labels)
    expected = float((logits.argmax(1) == labels).float().mean())
    assert outcome.values()["MulticlassAccuracy"] == pytest.approx(expected)


def test_texts_are_scored_item_by_item() -> None:
    from torchmetrics.text import CharErrorRate

    outputs = ["abc", "abd", "xyz"] * 6
    labels = ["abc", "abc", "abc"] * 6
    (effect,) = run(CharErrorRate(), outputs, labels, labels).values()
    assert effect.baseline == pytest.approx(4 / 9)
    assert effect.value == 0


def test_a_metric_that_raises_is_named_with_what_it_was_given() -> None:
    from torchmetrics.regression import MeanSquaredError

    (metric,) = make_metrics(MeanSquaredError())
    with pytest.raises(
        DataError, match=r"'MeanSquaredError' raised.*\n.*\(4,\).*\(5,\).*step="
    ) as caught:
        metric.start().update(torch.ones(4), torch.ones(5))
    assert caught.value.__cause__ is not None


def test_a_metric_that_cannot_compute_is_named() -> None:
    from torchmetrics import Metric

    class Broken(Metric):
        higher_is_better = True

        seen: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.add_state("seen", torch.tensor(0.0), dist_reduce_fx="sum")

        def update(self, outputs: Tensor, labels: Tensor) -> None:
            self.seen = self.seen + outputs.sum()

        def compute(self) -> Tensor:
            raise ZeroDivisionError("nothing seen")

    (metric,) = make_metrics(Broken())
    outcome = metric.start()
    outcome.update(torch.ones(4), torch.ones(4))
    with pytest.raises(DataError, match=r"'Broken' took all.*ZeroDivisionError: noth"):
        outcome.values()


def test_a_metric_of_several_numbers_is_asked_to_average() -> None:
    from torchmetrics.classification import MulticlassAccuracy

    before, after, labels = classification()
    with pytest.raises(DataError, match=r"not one number; let it average"):
        run(MulticlassAccuracy(CLASSES, average=None), before, after, labels)


def test_wrappers_and_sums_of_metrics_are_replayed() -> None:
    from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError
    from torchmetrics.wrappers import MultioutputWrapper

    before, after, labels = regression()
    both = MeanAbsoluteError() + MeanSquaredError()
    (effect,) = run(both, before, after, labels, False).values()
    difference = (after - labels).double()
    expected = difference.abs().mean() + (difference**2).mean()
    assert effect.value == pytest.approx(float(expected), abs=1e-5)
    assert effect.p < 0.05
    wrapped = MultioutputWrapper(MeanSquaredError(), 1)
    columns = before[:, None], after[:, None], labels[:, None]
    (effect,) = run(wrapped, *columns, False).values()
    assert effect.value == pytest.approx(float((difference**2).mean()), abs=1e-5)


def test_logits_that_look_like_probabilities_are_still_logits() -> None:
    from torchmetrics.classification import BinaryAUROC

    logits = torch.linspace(-3, 3, N)[torch.randperm(N, generator=GENERATOR)]
    labels = (logits + draw(5, N) > 0).long()
    whole = BinaryAUROC()
    whole.update(logits, labels)
    (effect,) = run(BinaryAUROC(), logits, -logits, labels).values()
    assert effect.baseline == pytest.approx(float(whole.compute()), abs=1e-6)


def test_entries_that_the_metric_does_not_give_are_refused() -> None:
    from torchmetrics import Metric

    class Two(Metric):
        higher_is_better = True

        seen: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.add_state("seen", torch.tensor(0.0), dist_reduce_fx="sum")

        def update(self, outputs: Tensor, labels: Tensor) -> None:
            self.seen = self.seen + outputs.sum()

        def compute(self) -> dict[str, Tensor]:
            return {"one": self.seen, "two": 2 * self.seen, "many": torch.ones(3)}

    before, after, labels = regression()
    assert list(run(Two(), before, after, labels)) == ["one", "two"]
    assert list(run(Two(), before, after, labels, {"two": False})) == ["two"]
    with pytest.raises(DataError, match=r"names \['three'\], but Two gives"):
        run(Two(), before, after, labels, {"three": True})
