"""What a study found: rows per arm and metric, computed once, then drawn."""

from surgery.study.results._comparison import ComparedRow as ComparedRow
from surgery.study.results._comparison import Comparison as Comparison
from surgery.study.results._drawn import StudyTable as StudyTable
from surgery.study.results._results import StudyResults as StudyResults
from surgery.study.results._row import ArmRow as ArmRow
from surgery.study.results._row import Belief as Belief
from surgery.study.results._rows import ArmTrials as ArmTrials
from surgery.study.results._rows import rows_of as rows_of
