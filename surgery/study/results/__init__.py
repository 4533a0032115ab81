"""What a study found: rows per arm and metric, computed once, then drawn."""

from surgery.study.results._results import StudyResults as StudyResults
from surgery.study.results._row import ArmRow as ArmRow
from surgery.study.results._row import Belief as Belief
from surgery.study.results._rows import ArmTrials as ArmTrials
from surgery.study.results._rows import rows_of as rows_of
from surgery.study.results._tiers import TierAgreement as TierAgreement
from surgery.study.results._tiers import TierComparison as TierComparison
from surgery.study.results._tiers import compare_tiers as compare_tiers
