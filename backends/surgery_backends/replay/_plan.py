"""Plans: what is learnt once of forwards with the same calls in the same order."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import nn

from surgery_backends._trial import Trial
from surgery_backends.replay._doors import has_hooks
from surgery_backends.replay._record import Call

# torch runs these otherwise where a module in them has hooks, with other rounding.
_SENSITIVE = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder)


@dataclass
class Plan:
    """What is known of one order of calls.

    Attributes:
        starts: By trial, how many events of a forward come before it takes part.
        changed: Calls whose outputs later code changes in place.
    """

    starts: dict[int, int] = field(default_factory=dict[int, int])
    changed: set[int] = field(default_factory=set[int])


def needed(calls: Iterable[Call], starts: Iterable[int]) -> set[int]:
    """The calls that can be left out for some start, and not with one around them."""
    ordered = sorted(starts)
    found: set[int] = set()
    for call in calls:
        if not call.replayable:
            continue
        around = call.parent
        while around is not None and not around.replayable:
            around = around.parent
        first = bisect_right(ordered, call.end)
        if first < len(ordered) and (around is None or ordered[first] <= around.end):
            found.add(call.place)
    return found


def blocked_for(
    model: nn.Module, modules: list[nn.Module], calls: Iterable[Call], trial: Trial
) -> set[int]:
    """Calls around such that a trial counts, as it means one of several."""
    paths: set[str] = set()
    for component in (edit.component for edit in trial.edits):
        if component.call is not None:
            paths.add(component.path)
        sites = component.place.sites if component.place is not None else ()
        for site in sites:
            if site.call is not None or component.call is not None:
                paths.add(site.path)
    counted = {model.get_submodule(path) for path in paths}
    found: set[int] = set()
    for call in calls if counted else ():
        around = call.parent if modules[call.number] in counted else None
        while around is not None:
            found.add(around.place)
            around = around.parent
    return found


def hooks_inside(modules: list[nn.Module], calls: Iterable[Call]) -> dict[int, bool]:
    """By event, begins of modules that run otherwise with hooks: whether they have."""
    return {
        call.begin: any(map(has_hooks, modules[call.number].modules()))
        for call in calls
        if isinstance(modules[call.number], _SENSITIVE)
    }
