"""Outcomes as JSON text and back."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from surgery.report import plain_json
from surgery.study.trials import Facts, Outcome, State


def outcome_to(outcome: Outcome) -> str:
    return json.dumps(plain_json(asdict(outcome)))


def outcome_from(text: str) -> Outcome:
    """Reads every field that this release knows; what older ones lack has defaults."""
    saved: dict[str, Any] = json.loads(text)
    known = {field.name for field in fields(Facts)}
    facts = {k: v for k, v in saved.pop("facts", {}).items() if k in known}
    facts["notes"] = tuple(facts.get("notes", ()))
    return Outcome(
        state=State(saved["state"]),
        metrics={name: float(v) for name, v in saved.get("metrics", {}).items()},
        seconds=float(saved.get("seconds", 0.0)),
        failure=saved.get("failure", ""),
        message=saved.get("message", ""),
        detail=saved.get("detail", ""),
        facts=Facts(**facts),
    )
