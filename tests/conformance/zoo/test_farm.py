"""The farm: every case gets a result, also one whose process dies or hangs."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.conformance.zoo.farm import Farm, costs, kept
from benchmarks.conformance.zoo.outcome import AtOnce, Excised, GraphView, Outcome
from benchmarks.conformance.zoo.report import Report, load, save
from benchmarks.conformance.zoo.specimen import Case, Specimen


def never() -> Specimen:
    raise AssertionError("not built in these tests")


def case_of(name: str) -> Case:
    return Case(name, name, "tests", never)


def fake(
    case: Case, sources: str, beat: Callable[[str, int, int], None], cap: float
) -> Report:
    beat("operate", 3, 7)
    if case.name == "dies":
        os._exit(9)
    if case.name == "hangs":
        time.sleep(100)
    return Report(case.name, case.family, case.group, sources, seconds={"operate": 2.0})


FULL = Report(
    model="full",
    family="full",
    group="tests",
    sources="abc",
    outcomes=(Outcome("a", "module", "effect", reached=True),),
    at_once=(AtOnce("branch", 2, reached=True),),
    graphs=(GraphView("export", True, True, named=3),),
    excised=(Excised("a", "module", "swapped", "bitwise"),),
    seconds={"build": 1.0, "operate": 2.0},
)


def test_a_report_is_read_as_it_was_saved_and_for_the_same_code_only(
    tmp_path: Path,
) -> None:
    save(FULL, tmp_path)
    assert load("full", tmp_path, "abc") == FULL
    assert load("full", tmp_path, "other") is None
    assert load("none", tmp_path, "abc") is None
    assert kept([case_of("full"), case_of("none")], tmp_path, "abc") == {"full": FULL}


def test_costs_are_those_measured_last(tmp_path: Path) -> None:
    committed = tmp_path / "seconds.json"
    committed.write_text('{"full": 70.0, "other": 8.0}')
    assert costs(tmp_path / "none", committed) == {"full": 70.0, "other": 8.0}
    save(FULL, tmp_path / "kept")
    assert costs(tmp_path / "kept", committed) == {"full": 3.0, "other": 8.0}


@pytest.mark.filterwarnings("ignore")
def test_every_case_gets_a_report_and_the_lost_ones_say_why(tmp_path: Path) -> None:
    told: list[Report] = []
    farm = Farm(tmp_path, "abc", 2, cap=2.0, done=told.append, check=fake)
    farm.run([case_of(name) for name in ("dies", "good", "hangs", "fine")])
    faults = {report.model: report.fault for report in told}
    assert set(faults) == {"dies", "good", "hangs", "fine"}
    assert faults["good"] == faults["fine"] == ""
    assert "it ended with 9; it had reached operate: 3 of 7" in faults["dies"]
    assert "its time was up; it had reached operate: 3 of 7" in faults["hangs"]
    assert load("good", tmp_path, "abc") in told
    assert load("dies", tmp_path, "abc") is None  # the next run tries again


@pytest.mark.filterwarnings("ignore")
def test_no_model_begins_once_the_time_is_up(tmp_path: Path) -> None:
    told: list[Report] = []
    farm = Farm(tmp_path, "abc", 1, cap=2.0, done=told.append, check=fake)
    farm.run([case_of("good"), case_of("fine")], seconds=0.0)
    assert told == []
    farm.run([case_of("good")], seconds=60.0)
    assert [report.model for report in told] == ["good"]
