"""Names, torchmetrics, functions, lists and groups become metrics."""

import functools
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from surgery.engine._metrics import make_metrics
from surgery.errors import DataError


def loss(outputs: Tensor, labels: Tensor, power: int = 1) -> Tensor:
    return (outputs - labels).abs() ** power


def names(metric: object, higher: Any = None) -> list[tuple[str, str, bool]]:
    made = make_metrics(metric, higher)
    return [(one.group, one.name, one.higher_is_better) for one in made]


def test_a_name_a_list_and_groups() -> None:
    assert names("f1") == [("", "f1", True)]
    assert names(["accuracy", "mse"]) == [("", "accuracy", True), ("", "mse", False)]
    assert names({"fit": ["mae", "r2"], "rank": "spearman"}) == [
        ("fit", "mae", False),
        ("fit", "r2", True),
        ("rank", "spearman", True),
    ]


def test_functions_are_named_after_themselves() -> None:
    given = [
        loss,
        functools.partial(loss, power=2),
        lambda o, y: o,
        lambda o, y: y,
        nn.L1Loss(reduction="none"),
    ]
    assert [name for _, name, _ in names(given, False)] == [
        *("loss", "loss#2", "metric", "metric#2", "L1Loss")
    ]


def test_torchmetrics_know_their_direction_or_are_asked_for_it() -> None:
    from torchmetrics import MetricCollection
    from torchmetrics.regression import MeanSquaredError, PearsonCorrCoef, R2Score

    assert names(MeanSquaredError()) == [("", "MeanSquaredError", False)]
    with pytest.raises(DataError, match=r"'PearsonCorrCoef' does not say whether"):
        make_metrics(PearsonCorrCoef())
    assert names(PearsonCorrCoef(), True) == [("", "PearsonCorrCoef", True)]
    both = MetricCollection({"fit": R2Score(), "error": MeanSquaredError()})
    assert sorted(names(both)) == [("", "error", False), ("", "fit", True)]
    assert sorted(names({"all": both})) == [
        ("all", "error", False),
        ("all", "fit", True),
    ]


def test_members_of_a_collection_are_measured_each_on_its_own() -> None:
    from torchmetrics import MetricCollection
    from torchmetrics.classification import MulticlassPrecision, MulticlassRecall

    options: Any = {"num_classes": 3, "average": "macro"}
    both = MetricCollection(
        [MulticlassPrecision(**options), MulticlassRecall(**options)]
    )
    logits = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(50) % 2
    both.update(logits, labels)
    expected = both.compute()
    for metric in make_metrics(both):
        outcome = metric.start()
        outcome.update(logits, labels)
        value = outcome.values()[metric.name]
        assert value == pytest.approx(float(expected[metric.name]))


def test_a_function_is_asked_for_its_direction() -> None:
    with pytest.raises(DataError, match=r"'loss' does not say.*\{'loss': True\}"):
        make_metrics(loss)
    assert names(loss, False) == [("", "loss", False)]
    assert names(["mse", loss], {"loss": False})[1] == ("", "loss", False)


def test_a_direction_that_contradicts_must_be_insisted_on() -> None:
    with pytest.raises(
        DataError, match="contradicts the metric 'accuracy', for which h"
    ):
        make_metrics("accuracy", False)
    assert names("accuracy", True) == [("", "accuracy", True)]
    assert names("accuracy", {"accuracy": False}) == [("", "accuracy", False)]


def test_a_direction_of_no_metric_is_refused() -> None:
    with pytest.raises(DataError, match=r"names \['acuracy'\], but the metrics are"):
        make_metrics("accuracy", {"acuracy": True})
    wrong: Any = "up"
    with pytest.raises(DataError, match="higher_is_better is 'up'"):
        make_metrics("accuracy", wrong)


def test_what_is_no_metric_is_refused() -> None:
    from torchmetrics.regression import MeanSquaredError

    for metric, message in (
        ([], "empty list"),
        ({}, "empty dict"),
        ({"group": []}, "empty list"),
        (3, "a metric of type int; give a name such as 'accuracy'"),
        (None, "a metric of type NoneType"),
        (["f1", "f1"], "'f1' is listed twice"),
        (MeanSquaredError, r"is the class MeanSquaredError; give an object: Mean"),
        ("acc", "unknown metric 'acc'"),
    ):
        with pytest.raises(DataError, match=message):
            make_metrics(metric)


def test_one_name_may_stand_in_two_groups() -> None:
    assert names({"a": "f1", "b": "f1"}) == [("a", "f1", True), ("b", "f1", True)]


def test_metrics_of_a_mean_do_not_import_torchmetrics() -> None:
    code = (
        "import sys, torch\n"
        "from surgery.engine._metrics import make_metrics\n"
        "outcome = make_metrics('accuracy')[0].start()\n"
        "outcome.update(torch.eye(3), torch.arange(3))\n"
        "assert outcome.values() == {'accuracy': 1.0}\n"
        "assert 'torchmetrics' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
