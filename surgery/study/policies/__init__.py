"""Policies: which arms a study tries, and which trials it ends early."""

from surgery.study.policies._add_one_in import AddOneIn as AddOneIn
from surgery.study.policies._base import AbstractPolicy as AbstractPolicy
from surgery.study.policies._base import Findings as Findings
from surgery.study.policies._base import Objective as Objective
from surgery.study.policies._base import Running as Running
from surgery.study.policies._factorial import Factorial as Factorial
from surgery.study.policies._factorial import FractionalFactorial as FractionalFactorial
from surgery.study.policies._greedy_path import GreedyPath as GreedyPath
from surgery.study.policies._k_out import KOut as KOut
from surgery.study.policies._leave_one_out import LeaveOneOut as LeaveOneOut
from surgery.study.policies._median import MedianStopping as MedianStopping
from surgery.study.policies._optuna import OptunaProposes as OptunaProposes
from surgery.study.policies._shapley import Shapley as Shapley
