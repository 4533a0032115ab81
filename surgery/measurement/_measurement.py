"""Measurement: a model with its data and metrics, set up to be swept."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, final

import torch
from torch import nn

from surgery._random import seeded
from surgery.ablation import Variant
from surgery.anatomy import Component, Record
from surgery.data import Batches, sketch
from surgery.engine import (
    AbstractMetric,
    Engine,
    Peers,
    Place,
    Runner,
    Sweep,
    Swept,
    Together,
    as_planned,
    check_plan,
    described,
    run_sharded,
)
from surgery.evaluator import default_budget
from surgery.measurement._first import averages, peek, recorded, without_single
from surgery.ops import (
    AbstractOperation,
    Clock,
    Drawn,
    Resample,
)
from surgery.report import Advance, plan_table, render
from surgery.report import progress as progress_bar

OnError = Literal["raise", "skip"]


@final
class Measurement:
    """A model with its data and metrics, set up to be swept; made by `measuring`.

    Attributes:
        model: The model without wrappers.
        metrics: What is measured.
        peers: The processes that measure together.
        seen: One recorded forward of the model, once it is running.
        place: Where it runs, once it does.
        plan: How the latest sweep ran, as plain JSON.
    """

    seen: Record
    place: Place
    _stream: Iterator[Any] | None

    def __init__(
        self,
        model: nn.Module,
        batches: Batches,
        runner: Runner,
        metrics: tuple[AbstractMetric, ...],
        operation: AbstractOperation,
        peers: Peers,
        *,
        engine: Engine,
        seed: int,
        on_error: OnError,
        progress: bool,
    ) -> None:
        self.model, self.metrics, self.peers = model, metrics, peers
        self.plan: dict[str, Any] = {}
        self.engine, self.seed, self.on_error = engine, seed, on_error
        self._batches, self._runner = batches, runner
        self._progress = progress and not peers.rank
        self._averages = averages(operation)
        self._resamples = isinstance(operation, Resample)
        self._clock = Clock()
        # An eighth of what evaluators may take.
        self._drawn = Drawn((engine.memory_budget or default_budget(model)) // 8)
        self._started = time.time()
        if peers.world > 1:
            # What is averaged or joined needs all batches; the first is recorded.
            whole = self._averages or self._resamples
            batches.wanted = lambda number: whole or not number or peers.owns(number)

    @contextmanager
    def running(self) -> Generator[None]:
        """Have the model where it runs, record it once, and draw by our own seeds.

        Variants are planned and swept in such a block; outcomes are judged after it.

        Raises:
            SurgeryError: The model does not run on the first batch.
        """
        with (
            self.peers.placed(self.engine).placed(self.model) as place,
            seeded(self.seed),
            torch.no_grad(),
        ):
            self.place = place
            self._first, self._stream = peek(self._batches)
            first = place.put(self._first)
            self.seen = recorded(self._runner, first, skip=self.skips)
            yield

    @property
    def skips(self) -> bool:
        """Whether what fails is left out and shown, instead of stopping."""
        return self.on_error == "skip"

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.time() - self._started

    def variant(
        self,
        components: Sequence[Component],
        operation: AbstractOperation,
        dial: float,
        seed: int | None = None,
    ) -> Variant:
        """Components under an operation, to be evaluated beside the baseline."""
        return Variant(
            self.model,
            components,
            operation,
            self._clock,
            dial=dial,
            seed=self.seed if seed is None else seed,
            backend=self.engine.backend,
            drawn=self._drawn,
        )

    def sweep(
        self,
        names: Sequence[str],
        variants: Sequence[Variant],
        title: str,
        settings: tuple[object, ...],
    ) -> tuple[Sweep, Swept]:
        """Score variants in one pass over the data (two, if they average first).

        Args:
            names: What the variants are called.
            variants: What is evaluated beside the baseline.
            title: Of the progress bar.
            settings: In what processes that measure together must not differ.
        """
        batches, peers = self._batches, self.peers
        check_plan(self.engine, names)
        sweep = self._made(names, variants)
        if peers.world > 1:
            peers.agree(self._facts(names, settings))
        stream = as_planned(self.engine, self._ready(sweep))
        total = batches.batches and batches.batches * (1 + len(variants))
        with progress_bar(title, total, self._progress) as advance:
            if peers.world > 1:
                swept = run_sharded(sweep, peers, stream, batches, advance)
            else:
                swept = sweep.run(stream, batches.samples, advance)
        self.plan = sweep.together.plan()
        if self.engine.explain and not peers.rank:
            print(render(plan_table({**self.plan, "order": names})))
        return sweep, swept

    @contextmanager
    def watched(
        self, names: Sequence[str], variants: Sequence[Variant], title: str
    ) -> Generator[tuple[Runner, Iterator[Any], Advance]]:
        """One pass in which the caller runs the model, not a sweep.

        Args:
            names: What the variants are called.
            variants: Those whose edits the caller will place, in its own way.
            title: Of the progress bar.

        Yields:
            What runs the model, the batches where it runs, and what shows how far.
        """
        stream = self._ready(self._made(names, variants))
        stop = self._clock.watch(self.model)
        try:
            with progress_bar(title, self._batches.batches, self._progress) as advance:
                yield self._runner, map(self.place.put, stream), advance
        finally:
            stop()
            self._runner.put_back()

    def _made(self, names: Sequence[str], variants: Sequence[Variant]) -> Sweep:
        return Sweep(
            runner=self._runner,
            names=names,
            variants=variants,
            metrics=self.metrics,
            clock=self._clock,
            place=self.place,
            skip_errors=self.skips,
            together=Together(
                self._runner,
                variants,
                self.engine.backend,
                self._batches.batches,
                self.engine.plan,
                memory_budget=self.engine.memory_budget,
                alike=self.peers.world > 1,
            ),
        )

    def _ready(self, sweep: Sweep) -> Iterator[Any]:
        """The batches, after a pass for what is averaged first."""
        batches = self._batches
        stream, self._stream = self._stream or iter(batches), None
        if self._averages:
            with progress_bar("Averaging", batches.batches, self._progress) as advance:
                sweep.gather(stream, advance)
            if self.peers.world > 1:
                batches.wanted = self.peers.owns
            stream = iter(batches)
        return without_single(stream) if self._resamples else stream

    def _facts(
        self, names: Sequence[str], settings: tuple[object, ...]
    ) -> dict[str, object]:
        """In what processes that measure together must not differ."""
        tensors = [*self.model.parameters(), *self.model.buffers()]
        engine = self.engine
        common = (self.seed, self.on_error, engine.backend, described(engine))
        return {
            "the model's tensors": sketch(tensors),
            "the first batch": sketch(self._first),
            "the number of samples": (self._batches.samples, self._batches.batches),
            "the components": list(names),
            "the settings": (*settings, *common, [m.name for m in self.metrics]),
        }
