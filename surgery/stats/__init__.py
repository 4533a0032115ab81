"""Paired tests, intervals, corrections and verdicts; knows arrays, not models."""

from surgery.stats._blocks import paired_blocks as paired_blocks
from surgery.stats._blocks import paired_transformed as paired_transformed
from surgery.stats._decide import Verdict as Verdict
from surgery.stats._decide import adjust as adjust
from surgery.stats._decide import verdict as verdict
from surgery.stats._effect import Correction as Correction
from surgery.stats._effect import Effect as Effect
from surgery.stats._effect import Evidence as Evidence
from surgery.stats._interval import t_interval as t_interval
from surgery.stats._interval import t_test as t_test
from surgery.stats._paired import paired_means as paired_means
from surgery.stats._ranks import Agreement as Agreement
from surgery.stats._ranks import rank_agreement as rank_agreement
from surgery.stats._ratio import ratio_of_means as ratio_of_means
from surgery.stats._repeats import combined as combined
from surgery.stats._repeats import repeated_means as repeated_means
from surgery.stats._runs import paired_runs as paired_runs
