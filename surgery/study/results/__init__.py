"""What a study found: rows per arm and metric, computed once, then drawn."""

from surgery.study.results._comparison import ComparedRow as ComparedRow
from surgery.study.results._comparison import Comparison as Comparison
from surgery.study.results._contexts import ContextComparison as ContextComparison
from surgery.study.results._contexts import Interaction as Interaction
from surgery.study.results._contexts import compare_contexts as compare_contexts
from surgery.study.results._drawn import StudyTable as StudyTable
from surgery.study.results._results import StudyResults as StudyResults
from surgery.study.results._row import ArmRow as ArmRow
from surgery.study.results._row import Belief as Belief
from surgery.study.results._rows import ArmTrials as ArmTrials
from surgery.study.results._rows import rows_of as rows_of
from surgery.study.results._share import Share as Share
from surgery.study.results._share import Shares as Shares
from surgery.study.results._shares import main_effects as main_effects
from surgery.study.results._shares import shapley_values as shapley_values
from surgery.study.results._tiers import TierAgreement as TierAgreement
from surgery.study.results._tiers import TierComparison as TierComparison
from surgery.study.results._tiers import compare_tiers as compare_tiers
