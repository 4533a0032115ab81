"""Studies: retrain with one thing left out, fairly, and compare."""

from surgery.study._plan import Plan as Plan
from surgery.study._plan import PlannedArm as PlannedArm
from surgery.study._study import Study as Study
from surgery.study.arms import Arm as Arm
from surgery.study.arms import Part as Part
from surgery.study.execution import Reporter as Reporter
from surgery.study.executors import AbstractExecutor as AbstractExecutor
from surgery.study.executors import InProcess as InProcess
from surgery.study.executors import LocalProcesses as LocalProcesses
from surgery.study.policies import AbstractPolicy as AbstractPolicy
from surgery.study.policies import Findings as Findings
from surgery.study.policies import LeaveOneOut as LeaveOneOut
from surgery.study.policies import Objective as Objective
from surgery.study.policies import Running as Running
from surgery.study.results import ArmRow as ArmRow
from surgery.study.results import ComparedRow as ComparedRow
from surgery.study.results import Comparison as Comparison
from surgery.study.results import StudyResults as StudyResults
from surgery.study.results import StudyTable as StudyTable
from surgery.study.tracking import AbstractTracker as AbstractTracker
from surgery.study.trials import Outcome as Outcome
from surgery.study.trials import State as State
from surgery.study.trials import Trial as Trial
