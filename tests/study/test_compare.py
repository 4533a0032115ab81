"""Lesion against retraining, on numbers chosen and on a study that was run."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy import stats

import surgery
from surgery.errors import StudyError
from surgery.ranking import Row
from surgery.study.arms import FeaturePart
from tests.study import small
from tests.study.conftest import Make
from tests.study.made import arm, layer, results


def ranking(deltas: dict[str, float], up: bool | None = True) -> surgery.Ranking:
    rows = [
        Row(
            component=name,
            metric="accuracy",
            baseline=0.9,
            value=0.9 + delta,
            delta=delta,
            low=delta - 0.01,
            high=delta + 0.01,
            p=0.0,
            p_adjusted=0.0,
            verdict="important" if abs(delta) > 0.01 else "inconclusive",
            effect="full",
            n=100,
        )
        for name, delta in deltas.items()
    ]
    return surgery.Ranking(tuple(rows), {"higher_is_better": {"accuracy": up}})


BASE = arm((), [0.90, 0.92, 0.94])
ARMS = (
    BASE,
    arm(layer("a"), [0.50, 0.53, 0.55]),
    arm(layer("b"), [0.90, 0.93, 0.93]),
    arm(layer("c"), [0.70, 0.71, 0.75]),
    arm(layer("stage", "d", "e"), [0.92, 0.91, 0.94]),
)
LESIONS = {"a": -0.8, "b": -0.5, "c": -0.3, "e + d": -0.001}


def test_components_are_matched_and_ranked_by_both() -> None:
    found = results(*ARMS).compare(ranking(LESIONS))
    rows = {row.component: row for row in found}
    assert set(rows) == {"a", "b", "c", "stage"}
    assert [rows[n].lesion_rank for n in ("a", "b", "c", "stage")] == [1, 2, 3, 4]
    assert [rows[n].rank for n in ("a", "c")] == [1, 2]
    assert rows["a"].lesion == pytest.approx(0.8)
    assert rows["a"].lesion_low < rows["a"].lesion < rows["a"].lesion_high
    assert rows["a"].retrained == pytest.approx(2.76 / 3 - 1.58 / 3)
    assert rows["a"].low < rows["a"].retrained < rows["a"].high
    says = {name: row.says for name, row in rows.items()}
    assert says == {"a": "both", "b": "lesion only", "c": "both", "stage": "neither"}
    assert [row.component for row in found.disagreements] == ["b"]


def test_the_agreement_is_spearmans_with_an_interval() -> None:
    found = results(*ARMS).compare(ranking(LESIONS))
    agreement = found.agreements["", ""]
    rows = list(found)
    truth = stats.spearmanr([r.lesion for r in rows], [r.retrained for r in rows])
    assert agreement.rho == pytest.approx(truth.statistic)
    assert agreement.low < agreement.rho <= agreement.high
    assert "disagree on b" in str(found) and "Spearman" in str(found)


def test_losses_are_turned_so_that_more_is_worse() -> None:
    found = results(*ARMS).compare(ranking(LESIONS), metric="loss")
    same = results(*ARMS).compare(ranking(LESIONS))
    assert [row.retrained for row in found] == pytest.approx(
        [row.retrained for row in same]
    )


def test_features_are_matched_with_inputs() -> None:
    feature = arm(FeaturePart("feature#0", ("feature#0",)), [0.5, 0.6, 0.7])
    found = results(BASE, feature).compare(ranking({"input:feature#0": -0.2}))
    assert [row.component for row in found] == ["feature#0"]
    assert math.isnan(found.agreements["", ""].rho)


def test_what_the_ranking_lacks_is_told() -> None:
    found = results(*ARMS).compare(ranking({"a": -0.1, "b": -0.2}))
    assert found.missing == ("c", "stage") or set(found.missing) == {"c", "stage"}
    assert "Not in the ranking" in str(found)
    with pytest.raises(StudyError, match="no component in common"):
        results(*ARMS).compare(ranking({"z": -0.1}))


def test_metrics_that_one_of_them_lacks_are_told() -> None:
    with pytest.raises(StudyError, match="it has accuracy, loss"):
        results(*ARMS).compare(ranking(LESIONS), metric="f1")
    with pytest.raises(StudyError, match="the ranking has no metric 'f1'"):
        results(*ARMS).compare(ranking(LESIONS), ranked="f1")
    with pytest.raises(StudyError, match="higher_is_better"):
        results(*ARMS).compare(ranking(LESIONS, up=None))


def test_it_can_be_drawn_and_exported() -> None:
    found = results(*ARMS).compare(ranking(LESIONS))
    assert list(found.to_pandas().columns)[:2] == ["component", "lesion"]
    assert "stage" in found.to_markdown() and "stage" in found.to_latex()
    assert found.to_csv().count("\n") == 5
    figure = found.plot()
    drawn = [text.get_text() for text in figure.axes[0].texts]
    assert sorted(drawn) == ["a", "b", "c", "stage"]


def test_a_real_study_is_compared_with_a_real_ranking(make: Make) -> None:
    study = make(seeds=3)
    study.layers.include("fc1", "fc2", remove="zero")
    study.features.include(0)
    done = study.run(progress=False)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = small.make_model(small.CONFIG, ())
        data: Any = small.make_data()
        quiet = surgery.study.Reporter("", study.folder, lambda logged: "")
        small.train(model, data, small.CONFIG, quiet)
    targets = ["fc1", "fc2", "input:feature#0"]
    lesions = surgery.rank(model, data["test"], targets, progress=False)
    found = done.compare(lesions)
    assert {row.component for row in found} == {"fc1", "fc2", "feature#0"}
    for row in found:
        (lesion,) = [r for r in lesions if r.component.endswith(row.component)]
        assert row.lesion == -lesion.delta
