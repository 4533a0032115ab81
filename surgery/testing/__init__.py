"""Contracts for third parties: what a backend of your own must fulfil.

def test_my_backend() -> None:
    surgery.testing.check_backend("mine").require()

Likewise for what studies are made of: `check_policy`, `check_executor` and
`check_tracker`.
"""

from surgery.testing._check import check_backend as check_backend
from surgery.testing._contract import Kept as Kept
from surgery.testing._executor import check_executor as check_executor
from surgery.testing._policy import check_policy as check_policy
from surgery.testing._report import Finding as Finding
from surgery.testing._report import Report as Report
from surgery.testing._tracker import check_tracker as check_tracker
