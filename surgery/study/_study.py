"""Study: retrain with one thing left out, over seeds, and compare."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from surgery.errors import StudyError
from surgery.stats import Evidence
from surgery.study._design import Design, Promote, code_of, designed
from surgery.study._gathered import gathered
from surgery.study._objectives import DirectionLike, MetricLike, objectives_of
from surgery.study._origin import origin_of
from surgery.study._plan import Plan, Rerun, planned
from surgery.study._seeds import Seeds, seeds_of
from surgery.study._session import Session, executor_of, replayed, walks_of
from surgery.study._smoke import SmokeTest, smoked
from surgery.study._walk import Walk
from surgery.study.arms import Factors, Features, Layers, Models
from surgery.study.configs import with_values
from surgery.study.execution import Factories, Recipe
from surgery.study.executors import AbstractExecutor
from surgery.study.policies import AbstractPolicy, LeaveOneOut
from surgery.study.results import StudyResults
from surgery.study.storage import Storage, locked
from surgery.study.tracking import AbstractTracker
from surgery.study.trials import Trial


class Study:
    """A retraining experiment: what is left out, over which seeds, kept where.

    Say what to leave out through `features`, `layers`, `factors` and `models`, look at
    `plan()`, then `run()`. A study that was interrupted, in whatever way, goes on where
    it stopped when it is run again.

    Functions are called with the arguments that they name, out of `config`, `seed`,
    `features` (names of what the data lacks), `component` (name of the arm, `None` for
    the base), `context`, `tier`, `device`; `train` also with `model`, `data` and
    `reporter`.

    Args:
        name: What the study is called.
        train: Trains a model, and returns metrics: a dict of numbers, or one number.
        model: Makes a fresh model, or is one, of which every trial gets a copy.
        data: Makes the data, or is the data.
        config: A dict, dataclass, namespace or OmegaConf config; factors are in it.
        metric: Names of the metrics, the main one first. A mapping from names of
            classes of objectives to metrics has a table for each.
        direction: Whether they are good if large, `"max"`, or small, `"min"`; one for
            all, or a mapping by metric.
        seeds: The seeds of every arm: numbers, or how many.
        storage: The folder that everything is kept in; by default `runs/NAME`.
        policy: Which arms are tried; by default each part left out by itself.
        inputs: An example input of the model, or a function that makes one (which may
            take `data`); by default the beginning of the data. Excision needs it.
        evidence: How to judge: confidence and correction.
        ignore: Patterns of config paths that do not determine a result, such as
            `"log_dir"`: other values there do not make other trials.
        version: Stands for the code; by default a hash of the functions given and of
            all of one's own that they use, so that changed code makes other trials.
        same_start: Declares that models of all seeds start from the same weights, as
            pretrained ones do.
        trackers: What shows trials elsewhere while they run.

    Attributes:
        features: Features of the data to leave out.
        layers: Layers, blocks, branches, heads of the model to leave out.
        factors: Factors of the config to switch off or to set otherwise.
        models: Other models to train.

    Raises:
        StudyError: An argument makes no sense.

    Example:
        >>> study = surgery.Study("digits", train=train, model=make_model,
        ...                       data=make_data, metric="accuracy", seeds=5)
        >>> study.layers.include("fc2")
        >>> results = study.run()
    """

    def __init__(
        self,
        name: str,
        *,
        train: Any,
        model: Any,
        data: Any,
        config: Any = None,
        metric: MetricLike = "accuracy",
        direction: DirectionLike = "max",
        seeds: Seeds = (0,),
        storage: str | Path | None = None,
        policy: AbstractPolicy | None = None,
        inputs: Any = None,
        evidence: Evidence = Evidence(),
        ignore: Sequence[str] = (),
        version: str = "",
        same_start: bool = False,
        trackers: Sequence[str | AbstractTracker] = ("tensorboard",),
    ) -> None:
        if not isinstance(name, str) or not name.strip():
            raise StudyError(f"a study needs a name, got {name!r}")
        self.name = name
        self.features = Features()
        self.layers = Layers()
        self.factors = Factors()
        self.models = Models()
        self.objectives = objectives_of(metric, direction)
        self.seeds = seeds_of(seeds)
        self.folder = Path(f"runs/{name}" if storage is None else storage)
        self.policy = policy or LeaveOneOut()
        self.evidence = evidence
        self._tiers = {"": Factories(model, data, train)}
        self._promotes: dict[str, Promote] = {}
        self._version = version
        self._configs: dict[str, Any] = {"": {} if config is None else config}
        self._inputs = inputs
        self._ignored = (ignore,) if isinstance(ignore, str) else tuple(ignore)
        # Now: what functions keep outside themselves may change while they run.
        self._codes = {"": version or code_of(self._tiers[""])}
        self._same_start = same_start
        self._trackers = tuple(trackers)
        frame = inspect.currentframe()
        self._origin = origin_of(None if frame is None else frame.f_back)
        self._settings: dict[str, object] = {}

    def plan(self, *, seeds: Seeds | None = None) -> Plan:
        """The arms, before anything runs; prints as a table.

        Looks every name up, takes every layer away once and drops every feature once:
        whatever would make an arm fail or mean nothing is told here.

        Raises:
            StudyError: For all mistakes that were found, one line each.
        """
        design = self._design(seeds)
        trials = self._known()
        walks = self._walks(design, trials)
        spec = None if self._origin is None else self._origin.spec(self)
        others = None if design.seeds == self.seeds else design.seeds
        rerun = Rerun(spec, self._settings, others)
        return planned(design, walks, trials, self.policy.name, rerun)

    def smoke_test(
        self, *, device: str | None = None, progress: bool = True
    ) -> SmokeTest:
        """One training step of every arm with the first seed; nothing is kept.

        Raises:
            StudyError: For all arms that failed, one line each.
        """
        design = self._design()
        everything = replace(design, promotes={})
        return smoked(design.recipe, self._walks(everything, {}), device, progress)

    def run(
        self,
        *,
        workers: int = 1,
        arms: Sequence[str] | None = None,
        seeds: Seeds | None = None,
        again: bool = False,
        retries: int = 2,
        executor: AbstractExecutor | None = None,
        devices: Sequence[str] | None = None,
        memory: int | None = None,
        progress: bool = True,
    ) -> StudyResults:
        """Run what is not done yet.

        Trials that are complete are never run again; those that failed only if their
        arm is named in `arms`. A trial that raises, diverges or returns no metric is a
        result, FAILED, and the study goes on.

        Args:
            workers: Processes that trials run in, at most; 1: in this one.
            arms: Names of the arms to run; by default all. The base is run anyway.
            seeds: Other seeds than the study's, or fewer.
            again: Forget what the arms named in `arms` came to, and run them anew.
            retries: How often a trial is tried again that ran out of memory or whose
                worker died.
            executor: Where trials run, instead of `workers`.
            devices: Where workers train, in turn; by default all GPUs, else the CPU.
            memory: Bytes of a GPU that a trial may need: a GPU has no more workers
                than fit into what is free of it.
            progress: Show it on standard error.

        Raises:
            StudyError: The study is ill-posed, its storage unusable, or somebody else
                is running it. What was done is not lost.
        """
        if executor is None:
            executor = executor_of(workers, devices, memory)
        named = [arms] if isinstance(arms, str) else arms
        try:
            executor.warm_up()
            design = self._design(seeds)
            with locked(self.folder), Storage(self.folder) as storage:
                session = Session(design, storage, self.policy, self.objectives, named)
                session.reopen(again)
                session.record(self._configs)
                session.drive(executor, self._trackers, retries, progress)
        finally:
            executor.close()
        return self._results(design)

    def results(self, *, seeds: Seeds | None = None) -> StudyResults:
        """What is known so far; also while another process runs the study."""
        return self._results(self._design(seeds))

    def contexts(self, **configs: Any) -> None:
        """Repeat all arms over several base configs, each under a name."""
        if not configs:
            raise StudyError(
                "contexts takes configs by name: study.contexts(tiny=..., base=...)"
            )
        self._configs = dict(configs)

    def configure(self, values: Mapping[str, object]) -> None:
        """Set other values at dotted paths of every base config; it stays as it was.

        Raises:
            StudyError: A config has nothing at one of the paths.
        """
        self._configs = {
            name: with_values(config, values) for name, config in self._configs.items()
        }
        self._settings |= values

    def tier(
        self,
        name: str,
        *,
        data: Any = None,
        train: Any = None,
        model: Any = None,
        promote: Promote = "all",
    ) -> None:
        """Run the arms on something cheaper first: less data, or a synthetic problem.

        Tiers run in the order in which they are named, the study's own last; each
        waits until the one before is done.

        Args:
            name: What the tier is called in tables.
            data: Its data, or what makes them; by default the study's.
            train: Its train function; by default the study's.
            model: Its model, or what makes it; by default the study's.
            promote: Which parts go on to the next tier: `"all"`; `"decided"`: those
                with a clear effect; a number: so many with the largest effects.
        """
        if not isinstance(name, str) or not name.strip() or name in self._tiers:
            raise StudyError(f"a tier needs a name of its own, got {name!r}")
        if data is None and train is None and model is None:
            raise StudyError(
                f"tier {name!r} is the study itself; give it data=, train= or model="
            )
        count = isinstance(promote, int) and not isinstance(promote, bool)
        if promote not in ("all", "decided") and not (count and int(promote) > 0):
            raise StudyError(
                f"promote= takes 'all', 'decided' or a number of parts, got {promote!r}"
            )
        own = self._tiers.pop("")  # and put back at the end
        made = Factories(
            own.model if model is None else model,
            own.data if data is None else data,
            train or own.train,
        )
        self._tiers |= {name: made, "": own}
        self._promotes[name] = promote
        self._codes[name] = self._version or code_of(made)

    def _results(self, design: Design) -> StudyResults:
        trials = self._known()
        walks = self._walks(design, trials)
        with Storage(self.folder) as storage:
            return gathered(
                design, walks, trials, storage, self.objectives, self.evidence
            )

    def _design(self, seeds: Seeds | None = None) -> Design:
        recipe = Recipe(
            name=self.name,
            folder=self.folder,
            tiers=dict(self._tiers),
            metrics=tuple(objective.metric for objective in self.objectives),
            inputs=self._inputs,
        )
        design = designed(
            recipe,
            self._configs,
            (self.features, self.layers, self.factors, self.models),
            self.seeds if seeds is None else seeds_of(seeds),
            self._ignored,
            self._codes,
            self._same_start,
        )
        return replace(design, promotes=self._promotes, evidence=self.evidence)

    def _walks(self, design: Design, trials: Mapping[str, Trial]) -> list[Walk]:
        """A walk per setting, as far as what is known takes it."""
        walks = walks_of(design, self.policy, self.objectives, wait=False)
        return replayed(walks, trials)

    def _known(self) -> dict[str, Trial]:
        if not (self.folder / "study.db").exists():
            return {}
        with Storage(self.folder) as storage:
            return {trial.id: trial for trial in storage.trials()}
