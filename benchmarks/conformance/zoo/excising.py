"""Excision: components taken out for good, against the operation that can be undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

import surgery
from benchmarks.conformance.zoo.guard import same_outputs
from benchmarks.conformance.zoo.outcome import Excised, Outcome
from benchmarks.conformance.zoo.subject import Subject
from surgery.anatomy import tensors
from surgery.excision import excise

LEAST = 8
"""So many components at least, where the model has them."""
CLOSE = 1e-4
"""Outputs that differ by less than this share of the largest value are close."""


def excise_some(
    subject: Subject,
    outcomes: Sequence[Outcome],
    over: Callable[[], bool] = lambda: False,
) -> Iterator[Excised]:
    """Excise at least eight components, one of every kind that had an effect.

    Args:
        subject: The model under check.
        outcomes: What became of `zero` on each of its components.
        over: Whether time is up.
    """
    for outcome in chosen(outcomes):
        if over():
            yield Excised(outcome.component, outcome.kind, cause="not reached in time")
        else:
            yield _excised(subject, outcome)
    if faults := subject.guard.full():
        yield Excised("the model", "module", cause="; ".join(faults))


def chosen(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """One of every kind from the middle of the model, then others evenly spread."""
    worth = [o for o in outcomes if o.verdict == "effect" and o.reached]
    by_kind: dict[str, list[Outcome]] = {}
    for outcome in worth:
        by_kind.setdefault(outcome.kind, []).append(outcome)
    first = [same[len(same) // 2] for same in by_kind.values()]
    rest = [outcome for outcome in worth if outcome not in first]
    missing = min(LEAST - len(first), len(rest))
    spread = [rest[(2 * k + 1) * len(rest) // (2 * missing)] for k in range(missing)]
    return first + spread


def _excised(subject: Subject, outcome: Outcome) -> Excised:
    name, kind = outcome.component, outcome.kind
    given = subject.specimen
    part = next((part for part in subject.parts if part.name == name), name)
    try:
        with surgery.ablate(subject.model, part):
            wanted = [x.clone() for x in subject.run()]
        model = excise(
            subject.model, name, inputs=given.args, kwargs=dict(given.kwargs)
        )
        with torch.no_grad():
            found = tensors(model(*given.args, **given.kwargs))
    except Exception as error:  # whatever it is, it is told
        return Excised(name, kind, cause=f"{type(error).__name__}: {error}")
    means = ", ".join(dict.fromkeys(row.how for row in model.excision))  # type: ignore[union-attr]
    equal = compared(found, wanted)
    cause = "" if equal != "no" else "other outputs than the operation"
    return Excised(name, kind, means, equal, cause)


def compared(a: Sequence[Tensor], b: Sequence[Tensor]) -> str:
    """How two outputs compare: `"bitwise"`, `"close"` or `"no"`."""
    if same_outputs(list(a), list(b)):
        return "bitwise"
    close = len(a) == len(b) and all(map(_close, a, b))
    return "close" if close else "no"


def _close(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    scale = float(b.double().abs().max()) if b.numel() else 0.0
    return torch.allclose(a.double(), b.double(), rtol=0, atol=CLOSE * scale)
