"""Reports: all that came out of one model, kept as a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.conformance.zoo.outcome import (
    AtOnce,
    Excised,
    Fused,
    GraphView,
    Outcome,
)


@dataclass(frozen=True)
class Report:
    """All checks of one model.

    Attributes:
        model: Its name in the zoo.
        family: What it stands for.
        group: The table it is in.
        sources: Fingerprint of the code that was checked, and checked it.
        input: What went in, in words.
        parameters: How many it has.
        fault: Why the model could not be checked to the end, in words; empty if it was.
        adds: How many residual adds the recorded forward found.
        expected_adds: How many there must be, where that is known.
        outcomes: `zero` on every component.
        at_once: All branches, and all skips, cut at once.
        graphs: Names on its graphs.
        excised: Components that were excised for good.
        fused: Trials in the fused program.
        seconds: How long each stage took.
    """

    model: str
    family: str
    group: str
    sources: str
    input: str = ""
    parameters: int = 0
    fault: str = ""
    adds: int = 0
    expected_adds: int | None = None
    outcomes: tuple[Outcome, ...] = ()
    at_once: tuple[AtOnce, ...] = ()
    graphs: tuple[GraphView, ...] = ()
    excised: tuple[Excised, ...] = ()
    fused: tuple[Fused, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def failures(self) -> list[tuple[str, str]]:
        """What is wrong: where, and what. Graphs and excision are told apart."""
        found = [
            (o.component, o.cause or o.verdict)
            for o in self.outcomes
            if o.verdict in ("failure", "not reached")
        ]
        found += [(f"all {a.kind}", a.fault) for a in self.at_once if a.fault]
        found += [(f"fused, {f.how}", fault) for f in self.fused for fault in f.faults]
        if self.fault:
            found.append(("the model", self.fault))
        if self.expected_adds is not None and self.adds != self.expected_adds:
            found.append(
                ("residual adds", f"{self.adds}, there are {self.expected_adds}")
            )
        return found

    @property
    def misses(self) -> list[tuple[str, str]]:
        """What of the graph and of excision failed: where, and why.

        A symbolic trace is a second graph; models that have none are told apart.
        """
        found = [
            (view.mechanism, view.cause)
            for view in self.graphs
            if view.mechanism != "fx" and not (view.built and view.agrees)
        ]
        return found + [
            (f"excise {e.component}", e.cause)
            for e in self.excised
            if e.equal not in ("bitwise", "close")
        ]

    @property
    def took(self) -> float:
        """Seconds of processor time in all."""
        return sum(self.seconds.values())


def save(report: Report, folder: Path) -> None:
    """Write a report, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{report.model}.json"
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(report)), encoding="utf-8")
    partial.replace(file)


def load(name: str, folder: Path, sources: str) -> Report | None:
    """The saved report on a model, if it is about this code."""
    file = folder / f"{name}.json"
    if not file.exists():
        return None
    report = read(file)
    return report if report.sources == sources else None


def read(file: Path) -> Report:
    """The report in a file."""
    fields: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    report = Report(**fields)
    return replace(
        report,
        outcomes=tuple(Outcome(**row) for row in fields["outcomes"]),
        at_once=tuple(AtOnce(**row) for row in fields["at_once"]),
        graphs=tuple(GraphView(**row) for row in fields["graphs"]),
        excised=tuple(Excised(**row) for row in fields["excised"]),
        fused=tuple(
            Fused(**{**row, "faults": tuple(row["faults"])})
            for row in fields.get("fused", ())
        ),
    )
