"""Saved results: what comes back, the schema they keep, files that are refused."""

from __future__ import annotations

import importlib.resources
import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest

from surgery.errors import SurgeryError
from surgery.study import StudyResults
from surgery.study.arms import CustomModel, FeaturePart, Hypothesis
from surgery.study.results._saved import FILE
from tests.study import small
from tests.study.conftest import Make
from tests.study.made import arm, factor, layer, results

BASE = arm((), [0.90, 0.92, 0.94])
A = arm(layer("a"), [0.80, 0.83, 0.85])
B = arm(layer("b"), [0.88, 0.91, 0.90])
BOTH = arm(layer("a + b", "a", "b", group=("a", "b")), [0.60, 0.66, 0.61])
HOPED = arm(layer("c"), [0.7, 0.7, 0.8], hypothesis=Hypothesis("worse", "it matters"))
FAILED = arm(factor("x", **{"x": (1, 2), "y": None}), [None, None, None])
FEATURE = arm(FeaturePart("age", ("age",), "mean"), [0.7, math.nan, 0.7])
MODEL = arm(CustomModel("wide", small.make_wide, "0123"), [0.9, 0.9, 0.9])
FOUND = results(BASE, A, B, BOTH, HOPED, FAILED, FEATURE, MODEL)


def document(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    return json.loads(text, parse_constant=lambda name: pytest.fail(name))


def validate(saved: Any) -> None:
    folder = importlib.resources.files("surgery.report") / "schemas"
    schema: Any = None
    for version in range(1, FILE.version + 1):  # every older one stays readable
        text = (folder / f"study-results-{version}.json").read_text(encoding="utf-8")
        schema = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(saved, schema)


def test_what_is_saved_comes_back_the_same(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    FOUND.save(path)
    loaded = StudyResults.load(path)
    assert str(loaded) == str(FOUND)
    assert loaded.provenance == FOUND.provenance
    assert repr([vars(t) for o in loaded.arms for t in o.trials]) == repr(
        [vars(t) for o in FOUND.arms for t in o.trials]
    )
    pd.testing.assert_frame_equal(loaded.to_pandas(), FOUND.to_pandas())
    for view in ("shares", "joint", "build_up", "importance", "expectations", "costs"):
        pd.testing.assert_frame_equal(
            getattr(loaded, view)().to_pandas(), getattr(FOUND, view)().to_pandas()
        )
    assert repr(loaded.summary()) == repr(FOUND.summary())
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_files_keep_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    FOUND.save(path)
    validate(document(path))


def test_the_files_of_a_real_study_keep_it_too(make: Make, tmp_path: Path) -> None:
    study = make(metric=["accuracy", "spread"])
    study.features.include(0, expect=-0.1, why="it tells")
    study.layers.include_groups(["fc1", "fc2"], remove="zero")
    study.factors.include("loss.smoothing", off=0.0, when={"width": 16})
    study.models.include("wide", small.make_wide)
    study.results().save(tmp_path / "before.json")
    study.run(arms=["feature#0", "wide"], progress=False).save(tmp_path / "part.json")
    for name in ("before", "part"):
        saved = document(tmp_path / f"{name}.json")
        validate(saved)
        assert len(saved["arms"]) == 5
    states = {trial["state"] for one in saved["arms"] for trial in one["trials"]}
    assert states == {"COMPLETE", "PENDING"}
    assert len(StudyResults.load(tmp_path / "part.json").rows) == 4


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("rows", 0, "verdict"), "certain"),
        (("rows", 0, "n"), "many"),
        (("arms", 1, "parts", 0, "kind"), "mood"),
        (("arms", 0, "trials", 0, "state"), "LOST"),
        (("arms",), None),
    ],
)
def test_files_that_are_damaged_are_told(
    where: tuple[Any, ...], value: object, tmp_path: Path
) -> None:
    path = tmp_path / "results.json"
    FOUND.save(path)
    saved = inner = document(path)
    for step in where[:-1]:
        inner = inner[step]
    inner[where[-1]] = value
    path.write_text(json.dumps(saved))
    with pytest.raises(SurgeryError, match=r"is damaged.*save the results again"):
        StudyResults.load(path)


def test_newer_files_and_other_results_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    FOUND.save(path)
    saved = document(path)
    path.write_text(json.dumps({**saved, "version": 99}))
    with pytest.raises(SurgeryError, match=r"has version 99.*upgrade"):
        StudyResults.load(path)
    path.write_text(json.dumps({**saved, "kind": "surgery.Ranking"}))
    with pytest.raises(SurgeryError, match=r"not a saved surgery\.StudyResults"):
        StudyResults.load(path)
