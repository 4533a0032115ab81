"""OptunaProposes: combinations of parts that a sampler of Optuna proposes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, final

from surgery.errors import StudyError
from surgery.study.arms import Arm
from surgery.study.policies._base import AbstractPolicy, Findings
from surgery.study.policies._together import slots, together

if TYPE_CHECKING:
    import optuna

_NOTHING = "nothing left out"


@final
class OptunaProposes(AbstractPolicy):
    """Lets Optuna look for the combination of parts with the best main metric.

    Each part, or factor with its values, is a categorical parameter. Optuna's own study
    is made anew from the trials that are done whenever it is asked, so that a study
    goes on as if it had never been interrupted.

    Needs the extra `optuna`.

    Args:
        arms: How many proposals; some may be the same arm.
        batch: How many are made before results are waited for; give it the number of
            workers divided by that of seeds, or more.
        sampler: Makes the sampler from a seed; by default Optuna's TPE.
        seed: Of the sampler.
    """

    name = "Optuna"

    def __init__(
        self,
        arms: int = 20,
        *,
        batch: int = 1,
        sampler: Callable[[int], optuna.samplers.BaseSampler] | None = None,
        seed: int = 0,
    ) -> None:
        for name, value in {"arms": arms, "batch": batch}.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise StudyError(f"{name} must be a number of arms, got {value!r}")
        self.arms = arms
        self.batch = batch
        self.sampler = sampler
        self.seed = seed

    def next(self, findings: Findings) -> Sequence[Arm] | None:
        if not findings.parts:
            return None
        with _quiet() as optuna:
            return self._next(findings, optuna)

    def _next(self, findings: Findings, optuna: Any) -> Sequence[Arm] | None:
        choices = {
            slot[0].slot: {_NOTHING: (), **{part.name: (part,) for part in slot}}
            for slot in slots(findings.parts)
        }
        space = {
            name: optuna.distributions.CategoricalDistribution(tuple(options))
            for name, options in choices.items()
        }
        study = optuna.create_study(
            direction=(
                "maximize" if findings.objectives[0].higher_is_better else "minimize"
            ),
            sampler=(
                optuna.samplers.TPESampler(seed=self.seed)
                if self.sampler is None
                else self.sampler(self.seed)
            ),
        )
        study.enqueue_trial(dict.fromkeys(choices, _NOTHING))  # the base
        known = {arm.key for arm in findings.proposed}
        asked = 0
        while asked < self.arms:
            trials = [
                study.ask(space) for _ in range(min(self.batch, self.arms - asked))
            ]
            asked += len(trials)
            # Of what excludes each other, the first is left out.
            round = [
                Arm(
                    together(
                        p for name in choices for p in choices[name][t.params[name]]
                    )
                )
                for t in trials
            ]
            if not {arm.key for arm in round} <= known:
                return round
            if not findings.all_done(round):
                return ()
            for trial, arm in zip(trials, round, strict=True):
                mean = findings.mean(arm)
                if mean is None:
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
                else:
                    study.tell(trial, mean)
        return None


@contextmanager
def _quiet() -> Generator[Any]:
    """Optuna without a line for each study that is made."""
    try:
        optuna = import_module("optuna")
    except ImportError as error:
        raise StudyError(
            "this policy needs Optuna: pip install 'torch-surgery[optuna]'"
        ) from error
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield optuna
    finally:
        optuna.logging.set_verbosity(level)
