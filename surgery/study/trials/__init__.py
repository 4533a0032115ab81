"""Trials: one arm with one seed, as frozen data, and what came of them."""

from surgery.study.trials._request import Request as Request
from surgery.study.trials._request import Setting as Setting
from surgery.study.trials._request import request_for as request_for
from surgery.study.trials._trial import Curve as Curve
from surgery.study.trials._trial import Facts as Facts
from surgery.study.trials._trial import Outcome as Outcome
from surgery.study.trials._trial import State as State
from surgery.study.trials._trial import Trial as Trial
