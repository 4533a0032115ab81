"""The engine: variants x batches -> per-sample outcomes."""

from surgery.engine._callable import CallableMetric as CallableMetric
from surgery.engine._given_plan import as_planned as as_planned
from surgery.engine._given_plan import check_plan as check_plan
from surgery.engine._given_plan import described as described
from surgery.engine._interrupt import interruptible as interruptible
from surgery.engine._metric import AbstractMetric as AbstractMetric
from surgery.engine._metric import AbstractOutcome as AbstractOutcome
from surgery.engine._metric import blamed as blamed
from surgery.engine._metrics import make_metrics as make_metrics
from surgery.engine._options import Engine as Engine
from surgery.engine._peers import Peers as Peers
from surgery.engine._peers import joined as joined
from surgery.engine._per_sample import PerSampleMetric as PerSampleMetric
from surgery.engine._place import Place as Place
from surgery.engine._runner import Runner as Runner
from surgery.engine._sharded import run_sharded as run_sharded
from surgery.engine._steps import Step as Step
from surgery.engine._steps import default_step as default_step
from surgery.engine._sweep import Sweep as Sweep
from surgery.engine._swept import Failure as Failure
from surgery.engine._swept import Swept as Swept
from surgery.engine._swept import forward_failed as forward_failed
from surgery.engine._together import Together as Together
