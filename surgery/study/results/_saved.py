"""Results as JSON and back; every older version loads."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, cast, get_args

from surgery.errors import StudyError, SurgeryError
from surgery.report import FileKind, JSONValue, load_json, save_json
from surgery.stats import Verdict
from surgery.study.arms import (
    Arm,
    CustomModel,
    FactorPart,
    FeaturePart,
    Hypothesis,
    LayerPart,
    Part,
)
from surgery.study.configs import plain
from surgery.study.results._row import ArmRow, Belief
from surgery.study.results._rows import ArmTrials
from surgery.study.storage._outcomes import outcome_from, outcome_to
from surgery.study.trials import State, Trial

FILE = FileKind("surgery.StudyResults", version=1)
_KINDS: Mapping[str, type[Part]] = {
    "layer": LayerPart,
    "feature": FeaturePart,
    "factor": FactorPart,
    "model": CustomModel,
}


def save(
    path: str | os.PathLike[str],
    rows: Sequence[ArmRow],
    arms: Sequence[ArmTrials],
    provenance: Mapping[str, JSONValue],
) -> None:
    body = {
        "provenance": provenance,
        "rows": [vars(row) for row in rows],
        "arms": [_arm_to(one) for one in arms],
    }
    save_json(path, FILE, body)


def load(
    path: str | os.PathLike[str],
) -> tuple[tuple[ArmRow, ...], tuple[ArmTrials, ...], dict[str, JSONValue]]:
    """Rows, arms and provenance.

    Raises:
        SurgeryError: It is no such file, of a newer version, or damaged.
    """
    body: dict[str, Any] = load_json(path, FILE)
    try:
        rows = tuple(_row(row) for row in body["rows"])
        arms = tuple(_arm_from(one) for one in body["arms"])
        provenance = dict(body["provenance"])
    except (KeyError, TypeError, ValueError, AttributeError, StudyError) as error:
        raise SurgeryError(
            f"{os.fspath(path)} is damaged: {type(error).__name__}: {error}; save the "
            "results again"
        ) from error
    return rows, arms, provenance


def _row(saved: dict[str, Any]) -> ArmRow:
    known = {field.name: str(field.type) for field in fields(ArmRow)}
    unknown = set(saved) - set(known)
    if unknown:
        raise ValueError(f"a row has {', '.join(sorted(unknown))}")
    return ArmRow(**{name: _typed(v, known[name]) for name, v in saved.items()})


def _typed(value: Any, type: str) -> Any:
    choices = {"Verdict": get_args(Verdict), "Belief": get_args(Belief)}.get(type)
    if choices is not None and value not in choices:
        raise ValueError(f"got {value!r} where one of {choices} belongs")
    if type == "float":
        return float(value)  # reads "NaN" and "Infinity" too
    if type == "int" and not isinstance(value, int):
        raise ValueError(f"got {value!r} where a number belongs")
    if type == "str" and not isinstance(value, str):
        raise ValueError(f"got {value!r} where text belongs")
    return value


def _arm_to(one: ArmTrials) -> dict[str, object]:
    return {
        "parts": [_part_to(part) for part in one.arm.parts],
        "against": [_part_to(part) for part in one.arm.against],
        "context": one.context,
        "tier": one.tier,
        "hypothesis": asdict(one.hypothesis),
        "trials": [_trial_to(trial) for trial in one.trials],
    }


def _arm_from(saved: dict[str, Any]) -> ArmTrials:
    parts = tuple(map(_part_from, saved["parts"]))
    against = tuple(map(_part_from, saved["against"]))
    return ArmTrials(
        Arm(parts, against),
        saved["context"],
        saved["tier"],
        tuple(map(_trial_from, saved["trials"])),
        Hypothesis(**saved["hypothesis"]),
    )


def _part_to(part: Part) -> dict[str, object]:
    """What of a part is plain: of a function its code's hash, of values their text."""
    told: dict[str, object] = {"kind": part.kind}
    for field in fields(part):
        value = getattr(part, field.name)
        if field.name == "hypothesis":
            value = asdict(value)
        elif field.name == "factory":
            continue
        elif isinstance(value, Mapping):
            items = cast("Mapping[str, object]", value).items()
            value = {path: plain(item) for path, item in items}
        told[field.name] = value
    return told


def _part_from(saved: dict[str, Any]) -> Part:
    values = dict(saved)
    kind = values.pop("kind")
    if kind not in _KINDS:
        raise ValueError(f"a part has the kind {kind!r}")
    made: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownArgumentType]
        for name, value in values.items()
    }
    made["hypothesis"] = Hypothesis(**values["hypothesis"])
    return _KINDS[kind](**made)


def _trial_to(trial: Trial) -> dict[str, object]:
    outcome = None if trial.outcome is None else json.loads(outcome_to(trial.outcome))
    return {**vars(trial), "state": str(trial.state), "outcome": outcome}


def _trial_from(saved: dict[str, Any]) -> Trial:
    values = dict(saved)
    outcome = values.pop("outcome")
    state = State(values.pop("state"))
    return Trial(
        **values,
        state=state,
        outcome=None if outcome is None else outcome_from(json.dumps(outcome)),
    )
