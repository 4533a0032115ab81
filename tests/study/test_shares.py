"""What designs are for: main effects, shares, contexts, against known truths."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from surgery.errors import StudyError
from surgery.study import (
    AddOneIn,
    Factorial,
    FractionalFactorial,
    GreedyPath,
    KOut,
    MedianStopping,
    OptunaProposes,
    Reporter,
    Shapley,
    compare_contexts,
    main_effects,
    shapley_values,
)
from surgery.study.policies._factorial import generators
from tests.study.conftest import Make

FACTORS = {"a": -0.3, "b": 0.1, "c": -0.05, "d": 0.0, "e": 0.02}
CONFIG: dict[str, Any] = {"width": 16, **dict.fromkeys(FACTORS, 1), "size": 1.0}


def additive(config: dict[str, Any], seed: int) -> float:
    """A sum of effects; `a` and `b` together give 0.2 more."""
    value = sum(effect for name, effect in FACTORS.items() if not config[name])
    both = 0.2 * (not config["a"] and not config["b"])
    noise = 0.001 * seed if config["size"] > 1 and not config["a"] else 0.0
    return float(config["size"]) * (1.0 + value + both) + 0.01 * seed + noise


def study(make: Make, names: str = "abc", **options: Any) -> Any:
    given = {"train": additive, "config": CONFIG, "seeds": 2, "version": "1"}
    made = make(**(given | options))
    for name in names:
        made.factors.include(name, off=0)
    return made


def test_add_one_in_compares_with_everything_left_out(make: Make) -> None:
    results = study(make, policy=AddOneIn()).run(progress=False)
    rows = {row.arm: row for row in results}
    assert set(rows) == {"a + b + c", "b + c", "a + c", "a + b"}
    assert rows["b + c"].against == "a + b + c"
    assert rows["b + c"].delta == pytest.approx(0.1)  # a put back: 0.3 less 0.2


def test_pairs_show_that_parts_stand_in_for_each_other(make: Make) -> None:
    results = study(make, policy=KOut(2)).run(progress=False)
    deltas = {row.arm: row.delta for row in results}
    assert len(deltas) == 6
    assert deltas["a + b"] - deltas["a"] - deltas["b"] == pytest.approx(0.2)
    assert deltas["a + c"] - deltas["a"] - deltas["c"] == pytest.approx(0.0)


def test_a_full_factorial_gives_effects_averaged_over_the_others(make: Make) -> None:
    made = study(make, "abc", policy=Factorial())
    made.factors.include("width", values=[8, 32])
    results = made.run(progress=False)
    assert len(results) == 2**3 * 3 - 1
    effects = {share.part: share.value for share in main_effects(results)}
    assert effects["a"] == pytest.approx(-0.3 + 0.1)  # b is out in half of the arms
    assert effects["c"] == pytest.approx(-0.05)
    assert effects["width=8"] == effects["width=32"] == pytest.approx(0.0)


def test_a_fractional_factorial_finds_main_effects_in_fewer_arms(make: Make) -> None:
    results = study(make, "abcde", policy=FractionalFactorial(5)).run(progress=False)
    assert len(results) == 2**4 - 1
    effects = {share.part: share.value for share in main_effects(results)}
    truth = {**FACTORS, "a": -0.3 + 0.1, "b": 0.1 + 0.1}
    assert effects == pytest.approx(truth)
    table = main_effects(results)
    assert table.rows[0].part == "a" and "Main effects on accuracy" in str(table)
    assert list(table.to_pandas().columns[:3]) == ["part", "metric", "value"]
    assert r"\toprule" in table.to_latex("tab:effects")


@pytest.mark.parametrize("resolution", [3, 4, 5])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 8, 11])
def test_a_fraction_is_balanced_to_its_resolution(count: int, resolution: int) -> None:
    masks = generators(count, resolution)
    runs = range(2 ** max(mask.bit_length() for mask in masks))
    design = [[1 - 2 * ((run & m).bit_count() % 2) for m in masks] for run in runs]
    assert len(design) <= 2**count
    for size in range(1, resolution):
        for chosen in itertools.combinations(range(count), size):
            total = 0
            for line in design:
                product = 1
                for column in chosen:
                    product *= line[column]
                total += product
            assert total == 0, chosen


def test_shapley_values_add_up_and_split_what_two_do_together(make: Make) -> None:
    policy = Shapley(6)  # all orders of three
    results = study(make, policy=policy).run(progress=False)
    shares = {share.part: share.value for share in shapley_values(results, policy)}
    assert shares == pytest.approx({"a": -0.2, "b": 0.2, "c": -0.05})
    everything = next(row for row in results if row.arm.count("+") == 2)
    assert sum(shares.values()) == pytest.approx(everything.delta)
    with pytest.raises(StudyError, match="has no complete trial"):
        shapley_values(study(make, "abcde").results(), Shapley(3))


def test_a_greedy_path_goes_from_one_config_to_another(make: Make) -> None:
    made = make(
        train=additive, config=CONFIG, seeds=1, version="1", policy=GreedyPath()
    )
    made.factors.include_difference({**CONFIG, "a": 0, "b": 0, "c": 0})
    results = made.run(progress=False)
    against = {row.arm: row.against for row in results}
    # b gains most; then a (its 0.3 less 0.2) costs more than c does.
    assert against["b"] == "base"
    assert against["b + c"] == "b"
    assert against["b + c + a"] == "b + c"
    assert made.plan().known


def test_optuna_finds_the_best_combination(make: Make) -> None:
    made = study(make, "abce", policy=OptunaProposes(25, batch=3), direction="max")
    results = made.run(progress=False)
    best = max(results, key=lambda row: row.delta)
    assert {"b", "e"} <= set(best.arm.split(" + "))
    assert made.plan().known


def hopeless(component: str | None, seed: int, reporter: Reporter) -> float:
    value = {"fc2": 0.1, "fc3": float("nan")}.get(component or "", 0.9 + 0.01 * seed)
    for step in range(4):
        reporter.log(step, accuracy=value)
    return value


def test_hopeless_and_diverged_arms_are_ended(make: Make) -> None:
    made = make(train=hopeless, policy=MedianStopping(warmup=2, margin=0.1), seeds=3)
    made.layers.include("fc1", "fc2", "fc3", remove="zero")
    trials = made.run(progress=False).trials()
    states = trials.groupby("arm").state.agg(set).to_dict()
    assert states["base"] == states["fc1"] == {"COMPLETE"}
    assert states["fc3"] == {"PRUNED"}
    assert "PRUNED" in states["fc2"]
    messages = " ".join(trials.message)
    assert "hopeless: accuracy is at best 0.1 by step 2" in messages
    assert "diverged: accuracy is nan at step 0" in messages


def test_contexts_show_where_an_arm_does_something_else(make: Make) -> None:
    made = study(make, seeds=5)
    made.contexts(tiny=CONFIG, large={**CONFIG, "size": 3.0})
    results = made.run(progress=False)
    found = compare_contexts(results)
    rows = {row.arm: row for row in found.rows}
    assert (rows["a"].context, rows["a"].other) == ("large", "tiny")
    assert rows["a"].effect == pytest.approx(-0.898)
    assert rows["a"].interaction == pytest.approx(-0.598)
    assert rows["a"].low < -0.598 < rows["a"].high and rows["a"].differs
    assert rows["b"].interaction == pytest.approx(0.2) and rows["c"].n == 5
    assert "interaction" in str(found) and len(found.to_pandas()) == 3
    assert found.to_markdown().count("| large |") == 3 and found.to_csv()
    with pytest.raises(StudyError, match="has one context"):
        compare_contexts(study(make).results())
