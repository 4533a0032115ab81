"""Provenance: where a ranking comes from, as plain JSON."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import nn

from surgery._versions import versions
from surgery.engine import Engine, Swept, described
from surgery.ops import AbstractOperation, mode_name
from surgery.ranking._plan import Plan
from surgery.stats import Evidence


def provenance(
    model: nn.Module,
    targets: object,
    operation: AbstractOperation,
    dial: float,
    seed: int,
    engine: Engine,
    evidence: Evidence,
    plan: Plan,
    swept: Swept,
    directions: Mapping[str, bool],
    *,
    together: Mapping[str, Any],
    device: str,
    seconds: float,
    world_size: int,
) -> dict[str, Any]:
    """Everything that is needed to tell, and to repeat, how the rows came about."""
    refused = swept.refused
    return {
        "versions": versions(),
        "model": type(model).__name__,
        "targets": _texts(targets),
        "mode": mode_name(operation),
        "dial": dial,
        "seed": seed,
        "plan": {
            "backend": engine.backend,
            "device": device,
            **described(engine),
            **together,
            "order": plan.names,
            "batch_sizes": swept.batch_sizes,
        },
        "world_size": world_size,
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
            *plan.skipped,
            *({"component": plan.names[i], "cause": c} for i, c in refused.items()),
        ],
        "failures": [asdict(failure) for failure in swept.failures],
        "seconds": round(seconds, 3),
    }


def _texts(targets: object) -> Any:
    if isinstance(targets, Sequence) and not isinstance(targets, str):
        return [_texts(target) for target in targets]
    return str(targets)
