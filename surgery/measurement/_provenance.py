"""Provenance: where a result comes from, as plain JSON."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from surgery._versions import versions
from surgery.engine import Swept, described
from surgery.measurement._measurement import Measurement
from surgery.stats import Evidence


def provenance(
    measurement: Measurement,
    targets: object,
    asked: Mapping[str, object],
    evidence: Evidence,
    order: Sequence[str],
    skipped: Sequence[Mapping[str, str]],
    swept: Swept,
    directions: Mapping[str, bool],
) -> dict[str, Any]:
    """Everything that is needed to tell, and to repeat, how the rows came about.

    Args:
        measurement: After its last sweep.
        targets: As the user gave them.
        asked: What else was asked for, by name.
        evidence: How it was judged.
        order: The names of variants, in the order of the sweep.
        skipped: What was left out, as `component, cause`.
        swept: What the last sweep left.
        directions: By metric, whether higher is better.
    """
    engine = measurement.engine
    return {
        "versions": versions(),
        "model": type(measurement.model).__name__,
        "targets": _texts(targets),
        **asked,
        "seed": measurement.seed,
        "plan": {
            "backend": engine.backend,
            "device": str(measurement.place.device),
            **described(engine),
            **measurement.plan,
            "order": list(order),
            "batch_sizes": swept.batch_sizes,
        },
        "world_size": measurement.peers.world,
        "data": {
            "samples": sum(swept.batch_sizes),
            "batches": len(swept.batch_sizes),
            "interrupted": swept.interrupted,
        },
        "command": " ".join(sys.argv),
        "confidence": evidence.confidence,
        "correction": evidence.correction,
        "higher_is_better": dict(directions),
        "skipped": [
            *skipped,
            *({"component": order[i], "cause": c} for i, c in swept.refused.items()),
        ],
        "failures": [asdict(failure) for failure in swept.failures],
        "seconds": round(measurement.seconds, 3),
    }


def _texts(targets: object) -> Any:
    if isinstance(targets, Sequence) and not isinstance(targets, str):
        return [_texts(target) for target in targets]
    return str(targets)
