"""Contracts for third parties: what a backend of your own must fulfil.

def test_my_backend() -> None:
    surgery.testing.check_backend("mine").require()
"""

from surgery.testing._check import check_backend as check_backend
from surgery.testing._report import Finding as Finding
from surgery.testing._report import Report as Report
