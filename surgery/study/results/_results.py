"""StudyResults: what retraining without each part did to each metric."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from surgery.ranking import Ranking
from surgery.report import JSONValue, Table, plain_json, to_pandas, write_tensorboard
from surgery.study.results import (
    _build_up,
    _logs,
    _saved,
    _summary,
    _together,
    _trials,
)
from surgery.study.results import _views as views
from surgery.study.results._compare import compared
from surgery.study.results._comparison import Comparison
from surgery.study.results._drawn import AbstractView, StudyTable, shown
from surgery.study.results._elements import metric_of
from surgery.study.results._row import ArmRow
from surgery.study.results._rows import ArmTrials

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class StudyResults(AbstractView[ArmRow]):
    """What retraining without each part did, most harmful first; prints as a table.

    A study that is not finished has results too, of the trials that are done.

    Attributes:
        rows: One per arm and metric, in each context and tier.
        arms: All arms with their trials, the base included; what rows are made of.
        provenance: Where the numbers come from, as plain JSON: `study, objectives,
            seeds, policy, confidence, correction, notes, runs`.
    """

    arms: tuple[ArmTrials, ...]
    provenance: Mapping[str, JSONValue]

    def __post_init__(self) -> None:
        plain = cast("dict[str, JSONValue]", plain_json(self.provenance))
        object.__setattr__(self, "provenance", plain)
        object.__setattr__(self, "rows", views.ordered(self.rows, plain))

    def tables(self) -> tuple[Table, ...]:
        """One per tier, context and class of objectives."""
        return views.tables(self)

    def data(self) -> Table:
        """One line per arm and metric."""
        return views.data(self)

    def trials(self) -> pd.DataFrame:
        """One line per trial: `arm, seed, state, metrics, seconds` and what else."""
        return to_pandas(_trials.trials(self.arms))

    def trial_table(self) -> StudyTable:
        """Trials one by one, with a column for each metric, as a table."""
        return shown(_trials.trial_table(self.arms, self.provenance))

    def to_tensorboard(self, logdir: str | os.PathLike[str]) -> None:
        """Writes tables, charts, and a run per trial with `final/METRIC` and HParams.

        A directory holds one study: writing again replaces the earlier one.
        """
        write_tensorboard(logdir, **_logs.logs(self))

    def plot(
        self,
        metric: str | None = None,
        *,
        context: str | None = None,
        tier: str | None = None,
    ) -> Figure:
        """A bar chart with intervals of one metric in one setting; the first ones."""
        return _logs.chart(self, metric_of(self.provenance, metric), context, tier)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes all as JSON; `load` reads any older version."""
        _saved.save(path, self.rows, self.arms, self.provenance)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> StudyResults:
        """Reads what `save` wrote; of functions only the hash of their code is kept."""
        return cls(*_saved.load(path))

    def compare(
        self, ranking: Ranking, metric: str | None = None, ranked: str | None = None
    ) -> Comparison:
        """Whether the cheap lesion score predicts what training without a part does.

        Args:
            ranking: Of the layers, or `input:` features, that the study leaves out.
            metric: The study's metric, by default its first.
            ranked: The ranking's metric; by default the same, else its first.

        Raises:
            StudyError: They have no component, or not these metrics.
        """
        name = metric_of(self.provenance, metric)
        objective = (name, self._up(name))
        level = self._confidence
        return compared(self.rows, self.arms, ranking, objective, ranked, level)

    def importance(self, metric: str | None = None) -> StudyTable:
        """Components ranked by how much worse a metric is without each."""
        name = metric_of(self.provenance, metric)
        table = _summary.importance(self.rows, self.arms, name, self._up(name))
        return shown(table)

    def shares(self, metric: str | None = None) -> StudyTable:
        """Each arm's share of the change from the full to the stripped arm.

        Raises:
            StudyError: No arm leaves out several things at once.
        """
        name = metric_of(self.provenance, metric)
        return shown(_together.shares(self.arms, name, self._confidence))

    def joint(self, metric: str | None = None) -> StudyTable:
        """Joint effects against the sums of the single ones.

        Raises:
            StudyError: No arm leaves out things that are also left out alone.
        """
        name = metric_of(self.provenance, metric)
        return shown(_together.joint(self.arms, name, self._confidence))

    def build_up(self, metric: str | None = None) -> StudyTable:
        """The way from the stripped arm to the full one, a step at a time.

        Raises:
            StudyError: No arm leaves out several things at once.
        """
        name = metric_of(self.provenance, metric)
        up, level = self._up(name), self._confidence
        return shown(_build_up.build_up(self.arms, name, up, level))

    def expectations(self) -> StudyTable:
        """What was expected before the run, and what came."""
        return shown(_summary.expectations(self.rows, self.arms))

    def costs(self) -> StudyTable:
        """Time, parameters and multiply-adds of each arm."""
        return shown(_summary.costs(self.arms))

    def summary(self, metric: str | None = None) -> dict[str, JSONValue]:
        """Best, worst and average trial: `best_id, best_val, best_config, worst_id ...,
        avg, metric_list, num_trials, early_stopped`, and the base's mean.

        A trial's config says what it leaves *out*.
        """
        name = metric_of(self.provenance, metric)
        return _summary.summary(self.arms, name, self._up(name))

    def _up(self, metric: str) -> bool:
        return views.higher_is_better(self.provenance)[metric]

    @property
    def _confidence(self) -> float:
        level = self.provenance.get("confidence")
        return level if isinstance(level, float) else 0.95
