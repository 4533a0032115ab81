"""Names on the model's graphs, against those of the recorded forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import fx

from benchmarks.conformance.zoo.outcome import GraphView
from benchmarks.conformance.zoo.subject import Subject
from surgery.anatomy import record
from surgery.graphs import agreement, export_graph, name_nodes, symbolic_graph


def graph_views(subject: Subject) -> Iterator[GraphView]:
    """What `torch.export`'s and `torch.fx`'s graphs name, and whether it agrees."""
    args, kwargs = subject.specimen.args, dict(subject.specimen.kwargs)
    seen = record(subject.model, args, kwargs)

    def view(mechanism: str, make: Callable[..., Any]) -> GraphView:
        try:
            graph: fx.Graph = make(subject.model, args, kwargs).graph
            found = agreement(seen, name_nodes(graph, subject.model))
        except Exception as error:  # whatever it is, it is told
            return GraphView(mechanism, False, cause=f"{type(error).__name__}: {error}")
        differing = len(found.only_record) + len(found.only_graph)
        cause = "" if found.complete else str(found)
        return GraphView(
            mechanism, True, found.complete, cause, len(found.same), differing
        )

    for mechanism, make in (("export", export_graph), ("fx", symbolic_graph)):
        yield view(mechanism, make)
    if faults := subject.guard.full():
        yield GraphView("the model", False, cause="; ".join(faults))
