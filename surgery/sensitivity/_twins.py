"""Twins: components whose parameters are the same tensors, perturbed once."""

from __future__ import annotations

from surgery.ablation import Variant
from surgery.measurement import Plan


def without_twins(plan: Plan) -> Plan:
    """The plan without components that change just what one before them changes.

    A tied weight has one curve, under the first of its names; the others are shown as
    skipped. (Operations on outputs change no tensors.)
    """
    first: dict[frozenset[int], str] = {}
    kept: list[tuple[str, Variant]] = []
    skipped = list(plan.skipped)
    for name, variant in zip(plan.names, plan.variants, strict=True):
        changed = variant.changes()
        if changed and changed in first:
            cause = f"its parameters are those of {first[changed]}: perturbed once"
            skipped.append({"component": name, "cause": cause})
        else:
            first[changed] = name
            kept.append((name, variant))
    return Plan([name for name, _ in kept], [variant for _, variant in kept], skipped)
