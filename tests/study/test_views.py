"""Views of a study's results, on numbers that can be checked by hand."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from surgery.errors import StudyError
from surgery.study.arms import Hypothesis
from tests.study.made import arm, factor, layer, results

BASE = arm((), [0.90, 0.92, 0.94])
A = arm(layer("a"), [0.80, 0.83, 0.85])
B = arm(layer("b"), [0.88, 0.91, 0.90])
BOTH = arm(layer("a + b", "a", "b", group=("a", "b")), [0.60, 0.66, 0.61])


def by_arm(frame: pd.DataFrame) -> dict[str, dict[str, object]]:
    return {str(row["arm"]): dict(row) for _, row in frame.iterrows()}


def test_shares_are_changes_over_the_change_of_everything() -> None:
    shares = by_arm(results(BASE, A, B, BOTH).shares().to_pandas())
    base, total = np.array([0.90, 0.92, 0.94]), np.array([0.60, 0.66, 0.61])
    for name, values in (("a", [0.80, 0.83, 0.85]), ("b", [0.88, 0.91, 0.90])):
        row = shares[name]
        part = np.array(values) - base
        assert row["share"] == pytest.approx(part.mean() / (total - base).mean())
        assert row["low"] < row["share"] < row["high"]  # type: ignore[operator]
        assert row["of"] == "a + b" and row["n"] == 3
    assert shares["a + b"]["share"] == 1.0


C, D = arm(layer("c"), [0.7, 0.8, 0.7]), arm(layer("d"), [0.6, 0.8, 0.8])
PAIR = arm(layer("c + d", "c", "d", group=("c", "d")), [0.5, 0.6, 0.7])
ALONE = arm(layer("e*", "e1", "e2", "e3", group=("e*",)), [0.9, 0.9, 0.9])


def test_groups_apart_are_wholes_of_their_own() -> None:
    found = results(BASE, A, B, BOTH, C, D, PAIR, ALONE)
    of = [(row["arm"], row["of"]) for row in found.shares()]
    first = [("a", "a + b"), ("b", "a + b"), ("a + b", "a + b")]
    assert of == [*first, ("c", "c + d"), ("d", "c + d"), ("c + d", "c + d")]
    whole = [row for row in found.shares() if row["arm"] == row["of"]]
    assert [(row["low"], row["high"]) for row in whole] == [(1, 1)] * 2
    steps = [(row["from"], row["put_back"]) for row in found.build_up()]
    assert steps[:3] == [("a + b", ""), ("a + b", "a"), ("a + b", "b")]
    assert [place for place, _ in steps[3:]] == ["c + d"] * 3


def test_what_holds_other_groups_is_the_only_whole() -> None:
    everything = layer("all", "a", "b", "c", "d", group=("a", "b", "c", "d"))
    found = results(BASE, A, B, BOTH, C, D, PAIR, arm(everything, [0.1, 0.2, 0.1]))
    assert {row["of"] for row in found.shares()} == {"all"}
    steps = [row["put_back"] for row in found.build_up()]
    assert len(steps) == 4 and steps[0] == "" and set(steps[2:]) < {"a", "b", "c", "d"}


def test_trials_are_a_table_with_a_column_for_each_metric() -> None:
    table = results(BASE, A, arm(layer("b"), [None, 0.9, 0.8])).trial_table()
    rows = [(row["arm"], row["seed"], row["accuracy"], row["why"]) for row in table]
    assert rows[0] == ("base", 0, 0.90, "")
    assert rows[6] == ("b", 0, None, "ValueError: no")
    assert "8 of 9 trials COMPLETE" in str(table)
    assert (
        table.to_csv().splitlines()[0] == "arm,seed,state,accuracy,loss,seconds,why,id"
    )


def test_seeds_that_failed_alike_are_on_one_line() -> None:
    shown = str(results(BASE, A, arm(layer("b"), [None, None, 0.8])))
    assert shown.count("failed:") == 1
    assert "b, seeds 0, 1 failed: ValueError: no" in shown


def test_joint_effects_are_compared_with_sums_of_single_ones_seed_by_seed() -> None:
    (row,) = results(BASE, A, B, BOTH).joint()
    base = np.array([0.90, 0.92, 0.94])
    alone = np.array([1.68, 1.74, 1.75]) - 2 * base
    together = np.array([0.60, 0.66, 0.61]) - base
    assert row["sum"] == pytest.approx(alone.mean())
    assert row["joint"] == pytest.approx(together.mean())
    truth = stats.ttest_rel(together, alone)
    assert row["difference"] == pytest.approx((together - alone).mean())
    assert row["p"] == pytest.approx(truth.pvalue)
    assert (row["low"], row["high"]) == pytest.approx(
        tuple(truth.confidence_interval())
    )


def test_arms_of_several_parts_are_joint_effects_too() -> None:
    pair = arm([factor("x"), factor("y")], [0.5, 0.5, 0.6])
    single = [arm(factor(name), [0.8, 0.7, 0.8]) for name in ("x", "y")]
    (row,) = results(BASE, *single, pair).joint()
    assert row["arm"] == "x + y"
    assert row["sum"] == pytest.approx(2 * (2.3 - 2.76) / 3)


def test_without_an_arm_of_several_things_the_error_says_what_to_include() -> None:
    found = results(BASE, A, B)
    for view in (found.shares, found.joint, found.build_up):
        with pytest.raises(StudyError, match="include_group"):
            view()


def test_the_build_up_goes_from_stripped_to_full_by_the_largest_gain() -> None:
    steps = list(results(BASE, B, A, BOTH).build_up())
    # Putting a back (b still missing) gains more than putting b back.
    assert [step["put_back"] for step in steps] == ["", "a", "b"]
    assert [step["left_out"] for step in steps] == ["a + b", "b", ""]
    values = [step["value"] for step in steps]
    assert values == pytest.approx([1.87 / 3, 2.69 / 3, 0.92])
    assert steps[1]["change"] == pytest.approx((2.69 - 1.87) / 3)
    assert [step["regained"] for step in steps] == pytest.approx(
        [0, (2.69 - 1.87) / (2.76 - 1.87), 1]
    )


def test_the_build_up_of_a_loss_gains_by_falling() -> None:
    steps = list(results(BASE, B, A, BOTH).build_up("loss"))
    assert [step["put_back"] for step in steps] == ["", "a", "b"]


def test_a_path_of_arms_is_walked_step_by_step() -> None:
    x, y, z = factor("x"), factor("y"), factor("z")
    path = [
        arm([x, y, z], [0.1, 0.2, 0.1]),
        arm([x, y], [0.3, 0.3, 0.4], against=[x, y, z]),
        arm([x], [0.6, 0.5, 0.5], against=[x, y]),
    ]
    steps = list(results(BASE, *path).build_up())
    assert [step["put_back"] for step in steps] == ["", "z", "y", "x"]


def test_importance_ranks_components_by_what_is_lost_without_them() -> None:
    found = results(BASE, B, A, BOTH)
    for metric in ("accuracy", "loss"):
        ranked = list(found.importance(metric))
        assert [row["component"] for row in ranked] == ["a + b", "a", "b"]
        assert [row["rank"] for row in ranked] == [1, 2, 3]
        assert ranked[1]["importance"] == pytest.approx(2.76 / 3 - 2.48 / 3)
        assert ranked[1]["low"] < ranked[1]["high"]  # type: ignore[operator]


def test_expectations_stand_beside_what_came() -> None:
    expected = Hypothesis(expect=-0.1, why="it learns edges")
    one = arm(layer("a"), [0.80, 0.83, 0.85], hypothesis=expected)
    (row,) = results(BASE, one, B).expectations()
    assert (row["arm"], row["metric"], row["why"]) == ("a", "accuracy", expected.why)
    assert row["expected"] == -0.1 and row["actual"] == pytest.approx(-0.28 / 3)
    assert row["belief"] == "confirmed"


def test_costs_are_told_against_the_base() -> None:
    small = arm(layer("a"), [0.8, 0.8, 0.8], seconds=1.0, parameters=75)
    costs = by_arm(results(BASE, small).costs().to_pandas())
    assert costs["a"]["seconds_relative"] == pytest.approx(-0.5)
    assert costs["a"]["parameters_relative"] == pytest.approx(-0.25)
    assert costs["a"]["macs"] == 750
    assert costs["base"]["parameters_relative"] == 0


def test_the_summary_says_best_worst_and_average_trials() -> None:
    found = results(BASE, A, arm(layer("b"), [None, 0.99, 0.5])).summary()
    assert found["best_val"] == 0.99 and found["worst_val"] == 0.5
    assert found["best_config"] == {"arm": "b", "left_out": ["b"], "seed": 1}
    assert found["worst_id"] == "b---2"
    values = [0.90, 0.92, 0.94, 0.80, 0.83, 0.85, 0.99, 0.5]
    assert found["metric_list"] == values
    assert found["avg"] == pytest.approx(np.mean(values))
    assert (found["num_trials"], found["num_failed"]) == (9, 1)
    assert found["base"] == pytest.approx(0.92)
    assert results(BASE, A).summary("loss")["best_val"] == pytest.approx(0.06)


def test_an_unknown_metric_is_told_with_those_there_are() -> None:
    with pytest.raises(StudyError, match="it has accuracy, loss"):
        results(BASE, A).importance("f1")


def test_contexts_are_kept_apart() -> None:
    arms = [
        arm(one.arm.parts, list(one.values("accuracy").values()), context=context)
        for context in ("tiny", "large")
        for one in (BASE, A, B, BOTH)
    ]
    shares = results(*arms).shares().to_pandas()
    assert list(shares.context) == ["tiny"] * 3 + ["large"] * 3


def test_csv_has_all_digits_and_markdown_and_latex_every_arm(tmp_path: Path) -> None:
    found = results(BASE, A, B, BOTH)
    text = found.to_csv(tmp_path / "out" / "rows.csv")
    assert (tmp_path / "out" / "rows.csv").read_text() == text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [float(row["delta"]) for row in rows] == [row.delta for row in found]
    for drawn in (found.to_markdown(), found.to_latex()):
        assert drawn.count("a + b") >= 2  # of two metrics
    assert r"\toprule" in found.to_latex()
    shares = found.shares()
    assert "| a |" in shares.to_markdown() and "a & " in shares.to_latex("tab:shares")
    assert shares.to_csv().count("\n") == 4
