"""The sharded sweep: each process measures its own batches, each gets all outcomes.

Batch b belongs to process b % world, whole, so that seeds and donors are those of one
process. After each round of one batch per process, all add the pieces of all in the
order of batches: their outcomes are bit for bit those of one process that has run every
batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, final

import torch
from torch import Tensor

from surgery.data import Batches, batch_length
from surgery.engine._interrupt import interruptible
from surgery.engine._metric import AbstractOutcome
from surgery.engine._peers import Peers
from surgery.engine._sweep import Sweep
from surgery.engine._swept import Failure, Swept
from surgery.errors import SurgeryError
from surgery.report import Advance


@dataclass(frozen=True)
class _Part:
    """What one batch adds; pieces by metric, and by variant and metric."""

    size: int
    failures: list[Failure]
    refused: dict[int, str]
    reached: list[bool]
    baseline: list[Any]
    outcomes: list[list[Any]]
    notes: list[list[str]]


@torch.no_grad()
def run_sharded(
    sweep: Sweep,
    peers: Peers,
    batches: Iterable[Any],
    source: Batches,
    advance: Advance,
) -> Swept:
    """`Sweep.run` over several processes; every one gets the same.

    Args:
        sweep: The same in every process.
        peers: The processes.
        batches: All batches in order; those of other processes may be `None`.
        source: What they come from.
        advance: Counts forwards of all processes.
    """
    shared = _Shared(sweep, peers, source.samples)
    stream = iter(batches)
    stop = sweep.clock.watch(sweep.runner.model)
    try:
        with interruptible() as interrupted:
            while not shared.swept.interrupted:
                count, own = _round(stream, peers)
                peers.agree({"the number of batches": count})
                if not count:
                    peers.agree({"the order of samples": source.digest})
                    break
                shared.round(own, advance, count)
                shared.swept.interrupted = any(peers.exchange(interrupted()))
    finally:
        stop()
        sweep.runner.put_back()
    shared.finish()
    return shared.swept


def _round(stream: Iterator[Any], peers: Peers) -> tuple[int, Any]:
    """How many batches this round has, and this process's, if it has one."""
    count, own = 0, None
    for place, batch in enumerate(islice(stream, peers.world)):
        count += 1
        if place == peers.rank:
            own = batch
    return count, own


@final
class _Shared:
    """What all processes have measured, kept alike in each."""

    def __init__(self, sweep: Sweep, peers: Peers, samples: int | None) -> None:
        self.swept = Swept.start(sweep.metrics, len(sweep.variants), samples)
        self._sweep, self._peers = sweep, peers
        self._number = 0
        for variant in sweep.variants:
            # Edits make their children when applied; without a batch they never are.
            try:
                variant.apply()()
            except SurgeryError:  # refused again at the first batch
                continue
        self._notes = self._take_notes()

    def round(self, own: Any, advance: Advance, count: int) -> None:
        """Measure this process's batch, and add those of all."""
        sizes = self._peers.exchange(None if own is None else batch_length(own))
        turn = _Turn(self._peers, self.swept.baseline)
        part = None
        if own is not None:
            before = sum(self.swept.batch_sizes)
            before += sum(size or 0 for size in sizes[: self._peers.rank])

            def advance_all(steps: int = 1, note: str | None = None) -> None:
                advance(steps * count, note)

            part = self._measured(own, before, turn, advance_all)
        turn.end()
        for item in self._peers.exchange(_on_cpu(part)):
            if item is not None:
                self._add(item)
        self._number += count

    def finish(self) -> None:
        """Have the variants tell what they did in all processes."""
        mine = [
            [(int(p.count), p.changed) for p in proofs] for proofs in self._proofs()
        ]
        for rank, theirs in enumerate(self._peers.exchange(mine)):
            if rank == self._peers.rank:
                continue
            for proofs, told in zip(self._proofs(), theirs, strict=True):
                for proof, (fired, changed) in zip(proofs, told, strict=True):
                    proof.add(fired, changed)
        for proofs, notes in zip(self._proofs(), self._notes, strict=True):
            for proof, note in zip(proofs, notes, strict=True):
                proof.note = note

    def _measured(
        self, batch: Any, before: int, turn: _Turn, advance: Advance
    ) -> _Part:
        swept = self.swept
        alone = Swept(
            baseline=turn.pending(swept.baseline),
            outcomes=[turn.pending(outcomes) for outcomes in swept.outcomes],
            reached=list(swept.reached),
            refused=dict(swept.refused),
            batch_sizes=[before],  # samples before it are as one batch
        )
        number = self._number + self._peers.rank
        self._sweep._batch(number, batch, alone, advance)
        return _Part(
            size=alone.batch_sizes[-1],
            failures=alone.failures,
            refused=alone.refused,
            reached=alone.reached,
            baseline=_pieces(alone.baseline),
            outcomes=[_pieces(outcomes) for outcomes in alone.outcomes],
            notes=self._take_notes(),
        )

    def _add(self, part: _Part) -> None:
        """Add a batch, as if it had been run after those added before."""
        swept = self.swept
        gone = {self._sweep.names[index] for index in swept.refused}
        swept.batch_sizes.append(part.size)
        swept.failures += [f for f in part.failures if f.component not in gone]
        for index, cause in part.refused.items():
            swept.refused.setdefault(index, cause)
        swept.reached = [
            a or b for a, b in zip(swept.reached, part.reached, strict=True)
        ]
        _add_pieces(swept.baseline, part.baseline)
        for index, outcomes in enumerate(swept.outcomes):
            if index not in swept.refused:
                _add_pieces(outcomes, part.outcomes[index])
        for kept, notes in zip(self._notes, part.notes, strict=True):
            kept[:] = [new or old for old, new in zip(kept, notes, strict=True)]

    def _proofs(self) -> list[Any]:
        return [variant.proofs() for variant in self._sweep.variants]

    def _take_notes(self) -> list[list[str]]:
        """The notes of this batch: the latest of all is the one that is shown."""
        taken = [[proof.note for proof in proofs] for proofs in self._proofs()]
        for proofs in self._proofs():
            for proof in proofs:
                proof.note = ""
        return taken


@final
class _Turn:
    """One round: where this process's batch stands among those of the others."""

    def __init__(self, peers: Peers, baseline: list[AbstractOutcome]) -> None:
        self._peers, self._baseline = peers, baseline
        self._ahead: list[int] | None = None

    def pending(self, outcomes: list[AbstractOutcome]) -> list[AbstractOutcome]:
        """What stands for outcomes while a batch is measured, and adds nothing."""
        return [_Pending(self, outcome, i) for i, outcome in enumerate(outcomes)]

    def ahead(self, outputs: Any, labels: Any) -> list[int]:
        """By metric: rows of this round's batches before this one.

        All processes come here once per round, after the untouched model has run: how
        many rows count is not known before.
        """
        if self._ahead is None:
            self._meet([outcome.rows(outputs, labels) for outcome in self._baseline])
        return self._ahead or []

    def end(self) -> None:
        """Come here without a batch, or with one of which no sample counts."""
        if self._ahead is None:
            self._meet([0 for _ in self._baseline])

    def _meet(self, rows: list[int]) -> None:
        before = self._peers.exchange(rows)[: self._peers.rank]
        self._ahead = [sum(theirs[i] for theirs in before) for i in range(len(rows))]


@final
class _Pending(AbstractOutcome):
    """An outcome on one batch, measured and not added."""

    def __init__(self, turn: _Turn, outcome: AbstractOutcome, place: int) -> None:
        self._turn, self._outcome, self._place = turn, outcome, place
        self.piece: Any = None
        self.samples = 0

    @property
    def failed(self) -> int:
        return 0

    def measure(
        self, outputs: Any, labels: Any, failed: Tensor | None = None, ahead: int = 0
    ) -> Any:
        ahead += self._turn.ahead(outputs, labels)[self._place]
        return self._outcome.measure(outputs, labels, failed, ahead)

    def add(self, piece: Any) -> None:
        self.piece = piece

    def values(self) -> dict[str, float]:
        return {}


def _pieces(outcomes: list[AbstractOutcome]) -> list[Any]:
    return [outcome.piece for outcome in outcomes if isinstance(outcome, _Pending)]


def _add_pieces(outcomes: list[AbstractOutcome], pieces: list[Any]) -> None:
    for outcome, piece in zip(outcomes, pieces, strict=True):
        if piece is not None:  # no sample counts
            outcome.add(piece)


def _on_cpu(item: Any) -> Any:
    """The same with tensors on the CPU, without what they are views of."""
    if isinstance(item, Tensor):
        local = item.detach().cpu()
        whole = local.untyped_storage().nbytes() == local.nbytes
        return local if whole else local.clone()
    if isinstance(item, _Part):
        return _Part(*[_on_cpu(value) for value in vars(item).values()])
    if isinstance(item, dict):
        return {key: _on_cpu(value) for key, value in item.items()}
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return type(item)(*map(_on_cpu, item))
    if isinstance(item, (list, tuple)):
        return type(item)(map(_on_cpu, item))
    return item
