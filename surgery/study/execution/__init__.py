"""One trial: its data, its model, what is left out, its training, and the checks."""

from surgery.study.execution._inject import check_parameters as check_parameters
from surgery.study.execution._inject import takes as takes
from surgery.study.execution._messages import Listener as Listener
from surgery.study.execution._messages import Logged as Logged
from surgery.study.execution._preparation import Preparation as Preparation
from surgery.study.execution._preparation import prepare as prepare
from surgery.study.execution._recipe import Factories as Factories
from surgery.study.execution._recipe import Recipe as Recipe
from surgery.study.execution._reporter import Reporter as Reporter
from surgery.study.execution._run import load_optimizers as load_optimizers
from surgery.study.execution._run import run_trial as run_trial
