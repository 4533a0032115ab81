"""Curves as results: order, tables, summaries, agreement, files, charts and logs."""

from __future__ import annotations

import importlib.resources
import json
import math
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import surgery
from surgery.errors import OperationError, SurgeryError
from surgery.ranking import Row
from surgery.sensitivity import Point, Sensitivity
from surgery.sensitivity._result import FILE

CONTRACT = (
    "component, perturb, level, metric, baseline, value, delta, low, high, n"
).split(", ")
PROVENANCE: dict[str, Any] = {
    "model": "Net",
    "perturb": "noise",
    "confidence": 0.95,
    "higher_is_better": {"accuracy": True, "loss": False},
    "skipped": [{"component": "x", "cause": "no parameters"}],
    "failures": [],
    "open": {},
}
LEVELS = (0.1, 0.5, 1.0)


def point(component: str, level: float, delta: float, **more: Any) -> Point:
    """A point whose interval is 0.05 to both sides."""
    given: dict[str, Any] = {
        "component": component,
        "perturb": "noise",
        "level": level,
        "metric": "accuracy",
        "baseline": 0.8,
        "value": 0.8 + delta,
        "delta": delta,
        "low": delta - 0.05,
        "high": delta + 0.05,
        "n": 200,
        "p": 0.01,
        "strength": level,
        "repeats": 3,
        "effect": "full",
    }
    return Point(**{**given, **more})


def curve(component: str, deltas: Sequence[float], **more: Any) -> list[Point]:
    """A component's points at the usual levels."""
    pairs = zip(LEVELS, deltas, strict=True)
    return [point(component, level, delta, **more) for level, delta in pairs]


def result_of(curves: Iterable[list[Point]]) -> Sensitivity:
    return Sensitivity(tuple(chain.from_iterable(curves)), PROVENANCE)


STRONG = curve("strong", (-0.1, -0.4, -0.6))
WEAK = curve("weak", (0.0, -0.02, -0.1))
LATE = curve("late", (0.0, 0.0, -0.7))
RESULT = Sensitivity((*WEAK, *LATE, *STRONG), PROVENANCE)


def test_the_columns_are_those_of_the_contract() -> None:
    frame = RESULT.to_pandas()
    assert list(frame.columns[: len(CONTRACT)]) == CONTRACT
    assert len(frame) == 9


def test_rows_go_from_the_most_sensitive_component_and_from_weak_to_strong() -> None:
    assert [p.component for p in RESULT][::3] == ["strong", "late", "weak"]
    assert [p.level for p in RESULT] == [*LEVELS] * 3
    ends = {"a": 0.3, "b": 0.9}
    result = result_of(curve(n, (0.1, 0.2, x), metric="loss") for n, x in ends.items())
    assert [p.component for p in result][::3] == ["b", "a"]


def test_it_prints_as_a_table_that_says_what_it_rests_on() -> None:
    text = str(RESULT)
    assert "Net: accuracy under noise; baseline 0.8000 on 200 samples" in text
    assert "over samples and 3 draws" in text
    assert "below zero, the model does worse" in text
    assert "Skipped: 1" in text
    assert str(Sensitivity((), {})).startswith("nothing was perturbed")


def test_the_area_is_the_mean_change_up_to_the_strongest_level() -> None:
    row = next(r for r in RESULT.summary() if r.component == "strong")
    truth = np.trapezoid([0, -0.1, -0.4, -0.6], [0, 0.1, 0.5, 1.0])
    assert math.isclose(row.area, truth)
    low = np.trapezoid([0, -0.15, -0.45, -0.65], [0, 0.1, 0.5, 1.0])
    assert math.isclose(row.area_low, low) and row.area < row.area_high


def test_the_slope_is_that_to_the_weakest_level() -> None:
    row = next(r for r in RESULT.summary() if r.component == "strong")
    ends = row.slope_low, row.slope, row.slope_high
    assert np.allclose(ends, (-1.5, -1.0, -0.5))


def test_the_critical_level_is_where_the_line_costs_as_much() -> None:
    rows = {r.component: r for r in RESULT.summary(cost=0.25)}  # 0.2 of 0.8
    strong, late, weak = rows["strong"], rows["late"], rows["weak"]
    assert math.isclose(strong.critical, 0.1 + 0.4 / 3)
    # Where the ends of the band, 0.15 to 0.45 and 0.05 to 0.35, cost as much.
    assert math.isclose(strong.critical_low, 0.1 + 0.4 * (0.2 - 0.15) / 0.3)
    assert math.isclose(strong.critical_high, 0.1 + 0.4 * (0.2 - 0.05) / 0.3)
    assert math.isclose(late.critical, 0.5 + 0.5 * 2 / 7)
    assert weak.critical == math.inf and weak.critical_high == math.inf
    ranks = [(r.rank_area, r.rank_slope, r.rank_critical) for r in rows.values()]
    assert ranks == [(1, 1, 1), (2, 2, 2), (3, 2, 3)]


def test_bits_are_summarised_by_the_step_and_told_as_bits() -> None:
    bits = ((8.0, 0.0, 1 / 127), (4.0, -0.2, 1 / 7), (2.0, -0.6, 1.0))
    result = result_of([[point("a", b, d, strength=x) for b, d, x in bits]])
    (row,) = result.summary(cost=0.25)
    assert math.isclose(row.critical, 4.0)
    (early,) = result.summary(cost=0.125)
    assert 4 < early.critical < 8


def test_a_cost_that_is_no_part_is_refused() -> None:
    with pytest.raises(OperationError, match=r"must lie in \(0, 1\], got 2"):
        RESULT.summary(cost=2)


def ranking(deltas: dict[str, float]) -> surgery.Ranking:
    rows = [
        Row(n, "accuracy", 0.8, 0.8 + d, d, d, d, 0.1, 0.1, "important", "full", 200)
        for n, d in deltas.items()
    ]
    return surgery.Ranking(tuple(rows), PROVENANCE)


def test_orders_agree_as_scipy_says() -> None:
    names = [f"n{i}" for i in range(8)]
    generator = np.random.default_rng(0)
    ends, slopes = generator.permutation(8) / 10, generator.permutation(8) / 100
    result = result_of(
        curve(n, (-s, -s, -e)) for n, e, s in zip(names, ends, slopes, strict=True)
    )
    lost = dict(zip(names, -generator.permutation(8) / 8, strict=True))
    found = {(r.first, r.second): r for r in result.agreement(ranking(lost))}
    assert set(found) == {
        ("area", "slope"),
        ("area", "critical"),
        ("area", "ablation"),
        ("slope", "critical"),
        ("slope", "ablation"),
        ("critical", "ablation"),
    }
    row = found["slope", "ablation"]
    theirs = [-lost[n] for n in names]
    assert math.isclose(row.spearman, spearmanr(slopes, theirs)[0], abs_tol=1e-12)
    assert math.isclose(row.kendall, kendalltau(slopes, theirs)[0], abs_tol=1e-12)
    assert row.low <= row.spearman <= row.high and row.n == 8
    assert "Agreement of orders" in str(result.agreement())


def test_orders_of_few_or_equal_components_say_nothing() -> None:
    (first, *_) = RESULT.agreement()
    assert (first.low, first.high) == (-1.0, 1.0)
    flat = Sensitivity((*curve("a", (0, 0, 0)), *curve("b", (0, 0, 0))), PROVENANCE)
    assert all(math.isnan(row.spearman) for row in flat.agreement())
    other = RESULT.agreement(ranking({"elsewhere": -0.1}))
    assert {row.n for row in other if row.second == "ablation"} == {0}


def test_what_is_saved_loads_again(tmp_path: Path) -> None:
    nan = math.nan
    odd = point("odd", 1.0, nan, value=nan, p=nan, low=-math.inf, high=math.inf)
    result = Sensitivity((*RESULT.rows, odd), PROVENANCE)
    path = tmp_path / "curves.json"
    result.save(path)
    again = Sensitivity.load(path)
    assert repr(again.rows) == repr(result.rows)
    assert again.provenance == result.provenance
    folder = importlib.resources.files("surgery.report") / "schemas"
    for version in range(1, FILE.version + 1):
        schema = json.loads((folder / f"sensitivity-{version}.json").read_text())
    jsonschema.validate(json.loads(path.read_text()), schema)


def test_a_ranking_is_no_sensitivity(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    ranking({"a": 0.0}).save(path)
    with pytest.raises(SurgeryError, match=r"is not a saved surgery\.Sensitivity"):
        Sensitivity.load(path)
    document = json.loads(path.read_text())
    document["kind"] = "surgery.Sensitivity"
    path.write_text(json.dumps(document))
    with pytest.raises(SurgeryError, match="a row cannot be read"):
        Sensitivity.load(path)


def test_a_plot_has_a_band_and_a_line_per_component() -> None:
    figure = RESULT.plot()
    axes = figure.axes[0]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["strong", "late", "weak"]
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert np.asarray(lines["strong"].get_xdata()).tolist() == [0, 0.1, 0.5, 1.0]
    assert np.asarray(lines["strong"].get_ydata()).tolist() == [0, -0.1, -0.4, -0.6]
    assert len(axes.collections) == 3
    with pytest.raises(SurgeryError, match="have no metric 'f1'; they have accuracy"):
        RESULT.plot("f1")


def test_many_components_are_drawn_and_the_first_named() -> None:
    figure = result_of(curve(f"c{i}", (0, 0, -i / 20)) for i in range(12)).plot()
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [*(f"c{i}" for i in range(11, 4, -1)), "5 more"]


def test_tensorboard_gets_curves_summaries_and_tables(tmp_path: Path) -> None:
    RESULT.to_tensorboard(tmp_path)
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    tags = read.Tags()
    assert "accuracy delta at 0.5/strong" in tags["scalars"]
    assert "accuracy/curves" in tags["images"]
    assert "sensitivity/text_summary" in tags["tensors"]
    runs = list((tmp_path / "components").iterdir())
    assert len(runs) == 3
