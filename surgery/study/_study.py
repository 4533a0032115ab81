"""Study: retrain with one thing left out, over seeds, and compare."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from surgery._random import preserved_rng
from surgery.errors import StudyError
from surgery.report import progress
from surgery.stats import Evidence
from surgery.study._design import Design, designed
from surgery.study._driver import Driver
from surgery.study._objectives import DirectionLike, MetricLike, objectives_of
from surgery.study._plan import Plan, file_of, planned
from surgery.study._provenance import provenance
from surgery.study._smoke import SmokeTest, smoked
from surgery.study._walk import Walk
from surgery.study.arms import Arm, Factors, Features, Layers, Models
from surgery.study.configs import plain
from surgery.study.execution import Factories, Recipe
from surgery.study.executors import AbstractExecutor, InProcess, LocalProcesses
from surgery.study.policies import AbstractPolicy, LeaveOneOut
from surgery.study.results import ArmTrials, StudyResults, rows_of
from surgery.study.storage import Storage, locked
from surgery.study.tracking import AbstractTracker, make_tracker
from surgery.study.trials import State, Trial

Seeds = int | Iterable[int]


class Study:
    """A retraining experiment: what is left out, over which seeds, and where it is kept.

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
        self._configs: dict[str, Any] = {"": {} if config is None else config}
        self._inputs = inputs
        self._ignored = (ignore,) if isinstance(ignore, str) else tuple(ignore)
        self._version = version
        self._same_start = same_start
        self._trackers = tuple(trackers)

    def plan(self) -> Plan:
        """The arms, before anything runs; prints as a table.

        Looks every name up, takes every layer away once and drops every feature once:
        whatever would make an arm fail or mean nothing is told here.

        Raises:
            StudyError: For all mistakes that were found, one line each.
        """
        design = self._design()
        trials = self._known()
        walks = self._walks(design, trials)
        file = file_of(self._tiers[next(iter(self._tiers))].train)
        return planned(design, walks, trials, self.policy.name, file)

    def smoke_test(
        self, *, device: str | None = None, progress: bool = True
    ) -> SmokeTest:
        """One training step of every arm with the first seed; nothing is kept.

        Raises:
            StudyError: For all arms that failed, one line each.
        """
        design = self._design()
        return smoked(design.recipe, self._walks(design, {}), device, progress)

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
        progress: bool = True,
    ) -> StudyResults:
        """Run what is not done yet.

        Trials that are complete are never run again; those that failed only if their
        arm is named in `arms`. A trial that raises, diverges or returns no metric is a
        result, FAILED, and the study goes on.

        Args:
            workers: Processes that trials run in; 1: in this one.
            arms: Names of the arms to run; by default all. The base is run anyway.
            seeds: Other seeds than the study's, or fewer.
            again: Forget what the arms named in `arms` came to, and run them anew.
            retries: How often a trial is tried again that ran out of memory or whose
                worker died.
            executor: Where trials run, instead of `workers`.
            devices: Where workers train, in turn; by default all GPUs, else the CPU.
            progress: Show it on standard error.

        Raises:
            StudyError: The study is ill-posed, its storage unusable, or somebody else
                is running it. What was done is not lost.
        """
        if executor is None:
            executor = _executor(workers, devices)
        design = self._design(seeds)
        named = (
            None if arms is None else [arms] if isinstance(arms, str) else list(arms)
        )
        with locked(self.folder), Storage(self.folder) as storage:
            self._record(design, storage)
            walks = self._walks(design, _by_id(storage))
            if named is not None:
                self._require_arms(named, walks)
            self._reopen(storage, walks, named, again)
            self._drive(design, storage, executor, named, retries, progress)
        return self.results(seeds=seeds)

    def results(self, *, seeds: Seeds | None = None) -> StudyResults:
        """What is known so far; also while another process runs the study."""
        design = self._design(seeds)
        trials = self._known()
        walks = self._walks(design, trials)
        arms: list[ArmTrials] = []
        runs: tuple[Any, ...] = ()
        with Storage(self.folder) as storage:
            runs = storage.runs()
            for walk in walks:
                for arm in walk.arms:
                    arms.append(_with_trials(arm, walk, trials, storage))
        return StudyResults(
            rows=rows_of(arms, self.objectives, self.evidence),
            arms=tuple(arms),
            provenance={
                "study": self.name,
                "objectives": [vars(objective) for objective in self.objectives],
                "seeds": list(design.seeds),
                "policy": self.policy.name,
                "confidence": self.evidence.confidence,
                "correction": self.evidence.correction,
                "notes": [*design.notes, *_notes(arms)],
                "runs": list(runs),
            },
        )

    def contexts(self, **configs: Any) -> None:
        """Repeat all arms over several base configs, each under a name."""
        if not configs:
            raise StudyError(
                "contexts takes configs by name: study.contexts(tiny=..., base=...)"
            )
        self._configs = dict(configs)

    def _design(self, seeds: Seeds | None = None) -> Design:
        recipe = Recipe(
            name=self.name,
            folder=self.folder,
            tiers=self._tiers,
            metrics=tuple(objective.metric for objective in self.objectives),
            inputs=self._inputs,
        )
        return designed(
            recipe,
            self._configs,
            (self.features, self.layers, self.factors, self.models),
            self.seeds if seeds is None else seeds_of(seeds),
            self._ignored,
            self._version,
            self._same_start,
        )

    def _walks(self, design: Design, trials: Mapping[str, Trial]) -> list[Walk]:
        """A walk per setting, as far as what is known takes it."""
        walks = self._fresh_walks(design)
        for walk in walks:
            walk.replay(trials)
        return walks

    def _fresh_walks(self, design: Design) -> list[Walk]:
        return [
            Walk(branch, self.policy, self.objectives, design.seeds, design.ignored)
            for branch in design.branches
        ]

    def _known(self) -> dict[str, Trial]:
        if not (self.folder / "study.db").exists():
            return {}
        with Storage(self.folder) as storage:
            return _by_id(storage)

    def _record(self, design: Design, storage: Storage) -> None:
        """What is known before the run: where it comes from, what is expected."""
        configs = {name: plain(config) for name, config in self._configs.items()}
        storage.record_run(
            {**provenance(configs, self.folder), "seeds": list(design.seeds)}
        )
        for branch in design.branches:
            for part in branch.parts:
                storage.expect(part.name, part.hypothesis)

    def _reopen(
        self,
        storage: Storage,
        walks: Sequence[Walk],
        named: Sequence[str] | None,
        again: bool,
    ) -> None:
        """Trials that are to be run although they were started or done before."""
        trials = storage.trials()
        # We hold the lock: whoever was running these is gone.
        storage.requeue(t.id for t in trials if t.state == State.RUNNING)
        if again and named is None:
            raise StudyError("again=True forgets results: name the arms in arms=[...]")
        states = {trial.id: trial.state for trial in trials}
        forgotten: list[str] = []
        for walk in walks:
            for arm in walk.arms:
                if named is None or arm.name not in named:
                    continue
                for request in walk.requests(arm):
                    state = states.get(request.id)
                    if again or state in (State.FAILED, State.PRUNED):
                        forgotten.append(request.id)
        for id in forgotten:
            shutil.rmtree(self.folder / "trials" / id, ignore_errors=True)
        storage.discard(forgotten)

    def _require_arms(self, named: Sequence[str], walks: Sequence[Walk]) -> None:
        known = list(dict.fromkeys(arm.name for walk in walks for arm in walk.arms))
        for name in named:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=3) or known[:12]
                raise StudyError(
                    f"there is no arm {name!r}; there is {', '.join(map(repr, near))}"
                )

    def _drive(
        self,
        design: Design,
        storage: Storage,
        executor: AbstractExecutor,
        named: Sequence[str] | None,
        retries: int,
        show: bool,
    ) -> None:
        walks = self._fresh_walks(design)
        counts = [walk.count() for walk in walks]
        known = [count for count in counts if count is not None]
        total = sum(known) if len(known) == len(counts) else None
        if named is not None:
            total = None
        only = None if named is None else {Arm().name, *named}
        with preserved_rng(), progress(f"study {self.name}", total, show) as advance:
            Driver(
                storage,
                executor,
                walks,
                [make_tracker(tracker) for tracker in self._trackers],
                retries=retries,
                only=only,
                advance=advance,
            ).run(design.recipe)


def seeds_of(seeds: Seeds) -> tuple[int, ...]:
    """Seeds as users write them: numbers, or how many.

    Raises:
        StudyError: There is none, or one comes twice.
    """
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        seeds = range(seeds)
    try:
        found = tuple(seeds)
    except TypeError:
        found = ()
    numbers = all(isinstance(s, int) and not isinstance(s, bool) for s in found)
    if not found or not numbers or len(set(found)) < len(found):
        raise StudyError(
            "seeds= takes different whole numbers, such as range(5), or how many, got "
            f"{seeds!r}"
        )
    return found


def _executor(workers: int, devices: Sequence[str] | None) -> AbstractExecutor:
    if workers == 1 and not isinstance(workers, bool):
        return InProcess(None if devices is None else devices[0])
    return LocalProcesses(workers, devices=devices)


def _by_id(storage: Storage) -> dict[str, Trial]:
    return {trial.id: trial for trial in storage.trials()}


def _with_trials(
    arm: Arm, walk: Walk, trials: Mapping[str, Trial], storage: Storage
) -> ArmTrials:
    """An arm with its trials; those that nobody asked for yet are PENDING."""
    setting = walk.branch.setting
    found = [
        trials.get(request.id)
        or Trial(request.id, arm.name, setting.context, setting.tier, request.seed)
        for request in walk.requests(arm)
    ]
    single = len(arm.parts) == 1
    expected = storage.expected(arm.name) if single else None
    return ArmTrials(
        arm, setting.context, setting.tier, tuple(found), expected or arm.hypothesis
    )


def _notes(arms: Sequence[ArmTrials]) -> list[str]:
    """What the trials showed that a reader must know."""
    notes: list[str] = []
    for one in arms:
        complete = [t for t in one.trials if t.state == State.COMPLETE]
        results = {tuple(sorted(t.metrics.items())) for t in complete}
        if len(complete) > 1 and len(results) == 1 and not one.arm.parts:
            notes.append(
                "all seeds of the base gave the same metrics to the last bit: do the "
                "data or train functions set a seed of their own?"
            )
        for trial in one.trials:
            if trial.outcome is not None:
                said = trial.outcome.facts.notes
                notes += [f"{one.arm.name}: {note}" for note in said]
    return list(dict.fromkeys(notes))
