"""Policies: which arms a study tries, and which trials it ends early."""

from surgery.study.policies._base import AbstractPolicy as AbstractPolicy
from surgery.study.policies._base import Findings as Findings
from surgery.study.policies._base import Objective as Objective
from surgery.study.policies._base import Running as Running
from surgery.study.policies._leave_one_out import LeaveOneOut as LeaveOneOut
