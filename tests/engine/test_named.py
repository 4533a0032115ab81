"""Every metric name against torchmetrics (or torch) on the whole data."""

import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from surgery.engine._metrics import make_metrics
from surgery.engine._named import NAMES
from surgery.errors import DataError
from surgery.stats import Effect

N, CLASSES = 230, 7
REGRESSION = ("mse", "rmse", "mae", "r2", "spearman", "pearson")


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def indices(seed: int, high: int, *shape: int) -> Tensor:
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(seed))


def effect(
    name: str,
    before: Tensor,
    after: Tensor,
    labels: Tensor,
    failed: Tensor | None = None,
    total: int | None = None,
) -> Effect:
    (metric,) = make_metrics(name)
    sides = metric.start(total), metric.start(total)
    for start in range(0, len(labels), 32):
        rows = slice(start, start + 32)
        sides[0].update(before[rows], labels[rows])
        mask = None if failed is None else failed[rows]
        sides[1].update(after[rows], labels[rows], mask)
    compared = metric.compare(*sides, confidence=0.95, seed=0)
    assert list(compared) == [name]
    assert sides[0].values()[name] == pytest.approx(compared[name].baseline)
    assert sides[0].samples == len(labels)
    return compared[name]


def truth(name: str, outputs: Tensor, labels: Tensor) -> float:
    """What torchmetrics says of all samples at once."""
    import torchmetrics.classification as c
    import torchmetrics.regression as r

    if name in ("cross_entropy", "perplexity"):
        loss = float(functional.cross_entropy(outputs.double(), labels))
        return math.exp(loss) if name == "perplexity" else loss
    kind, _, average = name.partition(":")
    averaged: Any = average or "micro"
    multi: dict[str, Any] = {"num_classes": CLASSES, "ignore_index": -100}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that Spearman keeps all samples
        makers: dict[str, Any] = {
            "accuracy": lambda: c.MulticlassAccuracy(average="micro", **multi),
            "accuracy@5": lambda: c.MulticlassAccuracy(
                average="micro", top_k=5, **multi
            ),
            "precision": lambda: c.MulticlassPrecision(average=averaged, **multi),
            "recall": lambda: c.MulticlassRecall(average=averaged, **multi),
            "f1": lambda: c.MulticlassF1Score(average=averaged, **multi),
            "mse": r.MeanSquaredError,
            "rmse": lambda: r.MeanSquaredError(squared=False),
            "mae": r.MeanAbsoluteError,
            "r2": r.R2Score,
            "spearman": lambda: r.SpearmanCorrCoef(num_outputs=_width(outputs)),
            "pearson": lambda: r.PearsonCorrCoef(num_outputs=_width(outputs)),
        }
        made = makers["accuracy" if kind == "error_rate" else kind]()
        made.set_dtype(torch.float64)
        made.update(outputs.double(), labels)
        value = float(made.compute().mean())
    return 1 - value if name == "error_rate" else value


def _width(outputs: Tensor) -> int:
    return outputs.shape[1] if outputs.ndim > 1 else 1


@pytest.mark.parametrize("total", [None, N])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_equals_torchmetrics(name: str, total: int | None) -> None:
    if name in REGRESSION:
        before, after, labels = draw(0, N), draw(1, N), draw(2, N)
        before = labels + before
    else:
        labels = indices(2, CLASSES, N)
        before = draw(0, N, CLASSES) + 2 * functional.one_hot(labels, CLASSES)
        after = draw(1, N, CLASSES)
    found = effect(name, before, after, labels, total=total)
    assert found.baseline == pytest.approx(truth(name, before, labels), rel=1e-6)
    assert found.value == pytest.approx(truth(name, after, labels), rel=1e-6)
    assert found.delta == pytest.approx(found.value - found.baseline)
    assert found.low < found.delta < found.high
    assert found.p < 0.01 and found.n == N


@pytest.mark.parametrize("name", ["r2", "pearson", "spearman", "mse", "mae", "rmse"])
def test_several_outputs_equal_torchmetrics(name: str) -> None:
    labels = draw(2, N, 3)
    outputs = labels + draw(0, N, 3)
    found = effect(name, outputs, outputs, labels)
    assert found.baseline == pytest.approx(truth(name, outputs, labels), rel=1e-6)
    assert (found.delta, found.p) == (0, 1)


@pytest.mark.parametrize(
    "name",
    [
        *("accuracy", "accuracy@5", "error_rate", "cross_entropy", "perplexity"),
        *("precision", "f1:macro"),
    ],
)
def test_dense_classification_leaves_ignored_positions_out(name: str) -> None:
    labels = indices(2, CLASSES, N, 3, 4)
    labels[indices(3, 4, N, 3, 4) == 0] = -100
    labels[5] = -100
    outputs = draw(0, N, CLASSES, 3, 4)
    found = effect(name, outputs, -outputs, labels)
    assert found.baseline == pytest.approx(truth(name, outputs, labels), rel=1e-6)
    assert found.value == pytest.approx(truth(name, -outputs, labels), rel=1e-6)


@pytest.mark.parametrize("name", ["accuracy", "cross_entropy", "perplexity"])
def test_a_language_model_equals_its_dense_transpose(name: str) -> None:
    labels = indices(2, CLASSES, N, 5)
    logits = draw(0, N, 5, CLASSES)
    found = effect(name, logits, -logits, labels)
    assert found.baseline == pytest.approx(
        truth(name, logits.transpose(1, 2), labels), abs=1e-5
    )


def test_longer_sequences_weigh_more() -> None:
    (metric,) = make_metrics("perplexity")
    outcome = metric.start()
    losses: list[Tensor] = []
    for length in (1, 3, 8):
        logits, labels = draw(length, 4, length, CLASSES), indices(1, 6, 4, length)
        if length == 3:
            labels[0, 1:] = -100
        outcome.update(logits, labels)
        losses.append(
            functional.cross_entropy(
                logits.flatten(0, 1), labels.flatten(), reduction="none"
            )[labels.flatten() != -100]
        )
    expected = float(torch.cat(losses).double().mean().exp())
    assert outcome.values()["perplexity"] == pytest.approx(expected, rel=1e-6)


def test_ignored_samples_do_not_count() -> None:
    labels = indices(2, CLASSES, N)
    outputs = draw(0, N, CLASSES)
    whole = effect("accuracy", outputs[::2], -outputs[::2], labels[::2])
    holes = labels.clone()
    holes[1::2] = -100
    found = effect("accuracy", outputs, -outputs, holes)
    assert found == whole and found.n == N // 2


def test_perplexity_equals_torchmetrics_of_text() -> None:
    from torchmetrics.text import Perplexity

    labels, logits = indices(2, CLASSES, N, 5), draw(0, N, 5, CLASSES)
    labels[0, 2:] = -100
    metric = Perplexity(ignore_index=-100)
    metric.update(logits, labels)
    found = effect("perplexity", logits, -logits, labels)
    assert found.baseline == pytest.approx(float(metric.compute()), rel=1e-6)


def test_single_logits_are_binary_with_threshold_zero() -> None:
    labels, logits = indices(2, 2, N), draw(0, N, 1)
    predictions = (logits[:, 0] > 0).long()
    right = (predictions == labels).float().mean()
    both = ((predictions == 1) & (labels == 1)).sum()
    values = {
        "accuracy": right,
        "error_rate": 1 - right,
        "accuracy@2": torch.tensor(1.0),
        "precision": both / predictions.sum(),
        "recall": both / labels.sum(),
        "f1": 2 * both / (predictions.sum() + labels.sum()),
        "cross_entropy": functional.binary_cross_entropy_with_logits(
            logits[:, 0], labels.float()
        ),
    }
    for name, value in values.items():
        found = effect(name, logits, -logits, labels)
        assert found.baseline == pytest.approx(float(value), abs=1e-6), name


def test_two_classes_are_scored_on_class_one_as_one_logit_is() -> None:
    labels, logits = indices(2, 2, N), draw(0, N)
    both = torch.stack([torch.zeros(N), logits], 1)
    for name in ("precision", "recall", "f1", "f1:macro", "accuracy"):
        one = effect(name, logits, -logits, labels)
        two = effect(name, both, both.flip(1), labels)
        assert two.baseline == pytest.approx(one.baseline), name


def test_plain_f1_of_many_classes_is_accuracy_and_macro_is_not() -> None:
    labels, logits = indices(2, CLASSES, N) // 2, draw(0, N, CLASSES)
    plain = effect("f1", logits, logits, labels).baseline
    assert plain == pytest.approx(effect("accuracy", logits, logits, labels).baseline)
    assert plain != pytest.approx(effect("f1:macro", logits, logits, labels).baseline)


def test_cross_entropy_takes_probabilities() -> None:
    logits, soft = draw(0, N, CLASSES), draw(1, N, CLASSES).softmax(1)
    expected = float(functional.cross_entropy(logits, soft))
    found = effect("cross_entropy", logits, -logits, soft)
    assert found.baseline == pytest.approx(expected, abs=1e-6)


# What a failed sample counts as.

FAILED = torch.arange(N) % 5 == 0
GARBAGE = float("nan")


def spoiled(outputs: Tensor) -> Tensor:
    return torch.where(FAILED.reshape(-1, *[1] * (outputs.ndim - 1)), GARBAGE, outputs)


@pytest.mark.parametrize(
    "name", ["accuracy", "accuracy@5", "precision", "recall", "f1", "f1:macro"]
)
def test_a_failed_sample_is_a_wrong_prediction(name: str) -> None:
    labels = indices(2, CLASSES, N)
    logits = functional.one_hot(labels, CLASSES).float()
    wrong = torch.where(FAILED[:, None], logits.roll(1, 1), logits)
    expected = truth(name, wrong, labels)
    if name == "accuracy@5":
        expected = 1 - float(FAILED.float().mean())
    found = effect(name, logits, spoiled(logits), labels, FAILED)
    assert found.value == pytest.approx(expected, abs=1e-6)
    assert found.n == N


def test_a_failed_sample_is_an_error() -> None:
    labels = indices(2, CLASSES, N)
    logits = functional.one_hot(labels, CLASSES).float()
    found = effect("error_rate", logits, spoiled(logits), labels, FAILED)
    assert found.value == pytest.approx(float(FAILED.float().mean()))


def test_a_failed_sample_has_the_worst_loss_seen_on_either_side() -> None:
    labels = draw(2, N)
    before, after = draw(0, N), draw(1, N)
    losses = (after - labels).abs()
    for scale in (1.0, 3.0):
        first = (before * scale - labels).abs()
        worst = torch.cat([first, losses[~FAILED]]).max()
        expected = torch.where(FAILED, worst, losses).mean()
        found = effect("mae", before * scale, spoiled(after), labels, FAILED)
        assert found.value == pytest.approx(float(expected), abs=1e-6)


def test_a_variant_that_always_fails_is_as_bad_as_the_worst_sample() -> None:
    labels, outputs = draw(2, N), draw(0, N)
    found = effect("mse", outputs, outputs * GARBAGE, labels, FAILED | True)
    assert found.value == pytest.approx(float(((outputs - labels) ** 2).max()))


@pytest.mark.parametrize("name", ["r2", "pearson", "spearman"])
def test_a_failed_sample_leaves_a_correlation_without_value(name: str) -> None:
    labels, outputs = draw(2, N), draw(0, N)
    found = effect(name, outputs, spoiled(outputs), labels, FAILED)
    assert math.isnan(found.value) and math.isnan(found.p)
    untouched = effect(name, outputs, outputs, labels, FAILED & False)
    assert untouched.delta == 0


@pytest.mark.parametrize("name", ["accuracy", "mse", "r2", "f1"])
def test_failed_samples_are_counted(name: str) -> None:
    regression = name in REGRESSION
    labels = draw(2, N) if regression else indices(2, CLASSES, N)
    outputs = draw(0, N) if regression else draw(0, N, CLASSES)
    (metric,) = make_metrics(name)
    outcome = metric.start(N)
    outcome.update(outputs, labels)
    assert outcome.failed == 0
    outcome.update(spoiled(outputs), labels, FAILED)
    assert outcome.failed == int(FAILED.sum())


def test_a_loss_that_is_infinite_in_the_baseline_leaves_the_comparison() -> None:
    logits = torch.zeros(40, 3)
    logits[0, 0] = -math.inf
    labels = torch.zeros(40, dtype=torch.long)
    found = effect("cross_entropy", logits, torch.zeros(40, 3), labels)
    assert found.n == 39 and found.baseline == pytest.approx(math.log(3))


# Names, directions, memory.


def test_directions_of_names() -> None:
    lower = {"error_rate", "cross_entropy", "perplexity", "mse", "rmse", "mae"}
    for name in NAMES:
        assert make_metrics(name)[0].higher_is_better is (name not in lower)


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(DataError, match=r"unknown metric 'acuracy'; did you mean 'acc"):
        make_metrics("acuracy")
    with pytest.raises(DataError, match=r"unknown metric 'accuracy@0'"):
        make_metrics("accuracy@0")
    with pytest.raises(DataError, match=r"'zzz'\. The names are accuracy"):
        make_metrics("zzz")


def test_more_than_all_classes_are_refused() -> None:
    outcome = make_metrics("accuracy@9")[0].start()
    with pytest.raises(DataError, match=r"at least 9 classes.*have 7"):
        outcome.update(draw(0, 5, CLASSES), indices(0, CLASSES, 5))


@pytest.mark.parametrize(
    ("name", "limit"),
    [("accuracy", 1), ("error_rate", 1), ("cross_entropy", 4), ("mse", 4)],
)
def test_an_outcome_takes_a_few_bytes_per_sample(name: str, limit: int) -> None:
    (metric,) = make_metrics(name)
    outcome: Any = metric.start(50_000)
    for seed in range(50):
        if name == "mse":
            outcome.update(draw(seed, 1000), draw(seed, 1000))
        else:
            outcome.update(draw(seed, 1000, 20), indices(seed, 20, 1000))
    assert outcome.samples == 50_000
    assert outcome.nbytes <= 1.25 * 50_000 * limit


def test_scores_of_a_thousand_classes_fit_in_a_few_megabytes() -> None:
    (metric,) = make_metrics("f1:macro")
    outcome: Any = metric.start(50_000)
    for seed in range(25):
        outcome.update(draw(seed, 2000, 1000), indices(seed, 1000, 2000))
    assert len(outcome.blocks) == 200
    assert outcome.blocks.nbytes < 7e6
