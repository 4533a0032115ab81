"""The benchmark of two processes, at a size that takes seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.study import runs
from benchmarks.study.__main__ import section, verdict
from benchmarks.study.runs import Round, Run, Size, measured


def made(one: float, two: float, trials: int = 16, shortest: float = 5.0) -> Round:
    found = {("base", seed): {"accuracy": 0.5} for seed in range(trials)}
    return Round(Run(one, shortest, found), Run(two, shortest, found), 5.0, 5.2)


def test_both_sides_train_and_find_the_same() -> None:
    found = measured(Size(epochs=1, seeds=1, layers=1), flip=True)
    assert set(found.one.trials) == {("base", 0), ("conv2", 0)}
    assert found.one.trials == found.two.trials
    accuracies = [metrics["accuracy"] for metrics in found.one.trials.values()]
    assert len(set(accuracies)) == 2 and min(accuracies) > 0.1
    assert "too small to tell" in section([found], Size(1, 1, 1))


def test_the_promise_is_about_the_median_of_rounds_that_are_large_enough() -> None:
    fast, slow = made(100, 53), made(100, 90)
    assert "**met**" in verdict([fast, slow, fast])
    assert "**MISSED**" in verdict([slow, slow, fast])
    assert "too small" in verdict([made(100, 53, trials=15)])
    assert "too small" in verdict([made(100, 53, shortest=4.9)])
    assert fast.machine == pytest.approx(10 / 5.2)


def test_sides_that_disagree_are_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def ran(function: object, arguments: list[tuple[object, ...]]) -> list[Run]:
        _, _, workers = arguments[0]
        return [Run(1.0, 1.0, {("base", 0): {"accuracy": float(str(workers))}})]

    monkeypatch.setattr(runs, "_in_processes", ran)
    with pytest.raises(SystemExit, match="other metrics"):
        measured(Size(1, 1, 1), flip=False)


def test_a_side_that_fails_ends_the_benchmark(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="failed, see above"):
        runs._in_processes(_broken, [(str(tmp_path),)])


def _broken(folder: str) -> None:
    raise SystemExit(3)
