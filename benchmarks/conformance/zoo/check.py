"""All checks of one model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch

from benchmarks.conformance.zoo.excising import excise_some
from benchmarks.conformance.zoo.graphs import graph_views
from benchmarks.conformance.zoo.operate import cut_all, operate, operate_together
from benchmarks.conformance.zoo.outcome import Outcome
from benchmarks.conformance.zoo.report import Report
from benchmarks.conformance.zoo.specimen import Case
from benchmarks.conformance.zoo.subject import Item, Subject

CHUNK = 50
"""After so many components bits and outputs are compared in full."""
DEAR = 30.0
"""Seconds of forwards above which a model's components are tried several at once."""
MOST = 32
"""At most so many at once."""
CAP = 900.0
"""Seconds of processor time after which a model's remaining components are given up."""

EXACT: Mapping[str, int] = {
    "timm.resnet50": 16,
    "tv.resnet50": 16,
    "timm.swin_tiny_patch4_window7_224": 24,
    "tv.swin_t": 24,
    "timm.vit_tiny_patch16_224": 24,
    "timm.eva02_tiny_patch14_224": 24,
    "hf.gpt2": 4,
}
"""How many residual adds a model has, where that is known."""

Beat = Callable[[str, int, int], None]


@dataclass
class Stages:
    """The time each stage took, and when time is up."""

    cap: float
    began: float = field(default_factory=time.process_time)
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of the block for this stage."""
        began = time.process_time()
        try:
            yield
        finally:
            self.seconds[name] = time.process_time() - began

    @property
    def over(self) -> bool:
        """Whether time is up."""
        return time.process_time() - self.began > self.cap


def check(
    case: Case, sources: str, beat: Beat = lambda *_: None, cap: float = CAP
) -> Report:
    """Check one model of the zoo in every way.

    Args:
        case: The model, not built yet.
        sources: What `fingerprint("zoo")` gave.
        beat: Told a stage, what of it is done, and all of it, often.
        cap: Seconds it may take.
    """
    torch.set_num_threads(1)
    stages = Stages(cap)
    report = Report(case.name, case.family, case.group, sources)
    try:
        with stages.stage("build"):
            bench = _Bench(case)
    except Exception as error:  # whatever it is, it is told
        fault = f"{type(error).__name__}: {error}"
        return replace(report, fault=fault, seconds=stages.seconds)
    with stages.stage("operate"):
        outcomes = tuple(_operated(bench, stages, beat))
    subject = bench.subject
    with stages.stage("at once"):
        at_once = tuple(cut_all(subject, kind) for kind in ("branch", "skip"))
    with stages.stage("graphs"):
        beat("graphs", 0, 1)
        graphs = tuple(graph_views(subject))
    with stages.stage("excise"):
        beat("excise", 0, 1)
        excised = tuple(excise_some(subject, outcomes, lambda: stages.over))
    return replace(
        report,
        input=subject.input,
        parameters=sum(p.numel() for p in subject.model.parameters()),
        adds=subject.count("skip"),
        expected_adds=EXACT.get(case.name),
        outcomes=outcomes,
        at_once=at_once,
        graphs=graphs,
        excised=excised,
        seconds=stages.seconds,
    )


class _Bench:
    """The subject under check; another one if something was left behind in it."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.subject = Subject(case)

    def renew(self) -> None:
        """Go on with a model built anew."""
        self.subject = Subject(self._case)


def _operated(bench: _Bench, stages: Stages, beat: Beat) -> Iterator[Outcome]:
    items = bench.subject.items()
    each = time_of(bench.subject.run)
    groups = grouped(items, together=round(each * len(items) / DEAR))
    found: dict[str, Outcome] = {}
    for chunk in chunks(groups):
        beat("operate", len(found), len(items))
        members = [item for group in chunk for item in group]
        outcomes = [Outcome(i.name, i.kind, "not reached") for i in members]
        if not stages.over:
            outcomes = _chunk(bench, chunk)
        found.update((outcome.component, outcome) for outcome in outcomes)
    yield from (found[item.name] for item in items)


def grouped(items: Sequence[Item], together: int) -> list[list[Item]]:
    """Items in groups of at most so many, none of them inside another one's module.

    Members of a group lie far apart in the model, so that what one zeroes is seldom
    all that another one sees.
    """
    count = -(-len(items) // max(1, min(together, MOST)))
    groups: list[list[Item]] = [[] for _ in range(count)]
    for place, item in enumerate(items):
        turn = (groups[(place + k) % count] for k in range(count))
        free = (group for group in turn if not any(_nested(item, o) for o in group))
        group = next(free, None)
        if group is None:
            groups.append([item])
        else:
            group.append(item)
    return groups


def _nested(a: Item, b: Item) -> bool:
    """Whether one of them is in the other one's module; inputs are around all."""
    if "input" in (a.kind, b.kind):
        return True
    short, long = sorted((path_of(a), path_of(b)), key=len)
    return not short or short == long or long.startswith(f"{short}.")


def path_of(item: Item) -> str:
    """The path of an item's module."""
    return item.part.path if item.part is not None else item.name.partition(":")[0]


def chunks(groups: Sequence[list[Item]]) -> Iterator[list[list[Item]]]:
    """Groups, so many at a time that a full comparison after them costs little."""
    for start in range(0, len(groups), CHUNK):
        yield list(groups[start : start + CHUNK])


def time_of(run: Callable[[], object]) -> float:
    """Seconds of the fastest of three runs."""
    taken: list[float] = []
    for _ in range(3):
        began = time.process_time()
        run()
        taken.append(time.process_time() - began)
    return min(taken)


def _chunk(bench: _Bench, chunk: Sequence[list[Item]]) -> list[Outcome]:
    """Some groups; each item alone, seen in full, if something was left behind."""
    outcomes = [o for group in chunk for o in operate_together(bench.subject, group)]
    if not bench.subject.guard.full():
        return outcomes
    bench.renew()
    outcomes = []
    for item in (item for group in chunk for item in group):
        outcomes.append(operate(bench.subject, item, full=True))
        if bench.subject.guard.full():
            bench.renew()
    return outcomes
