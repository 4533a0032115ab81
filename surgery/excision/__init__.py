"""Excision: a new plain model with an operation built in for good."""

from surgery.excision._compare import Comparison as Comparison
from surgery.excision._compare import Saved as Saved
from surgery.excision._compare import compare as compare
from surgery.excision._excise import excise as excise
from surgery.excision._result import Excised as Excised
from surgery.excision._result import Excision as Excision
