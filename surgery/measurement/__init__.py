"""Measurements: what every question to a sweep is set up with, planned and told by."""

from surgery.measurement._measurement import Measurement as Measurement
from surgery.measurement._measurement import OnError as OnError
from surgery.measurement._measuring import measuring as measuring
from surgery.measurement._plan import Plan as Plan
from surgery.measurement._plan import plan_variants as plan_variants
from surgery.measurement._provenance import provenance as provenance
from surgery.measurement._told import Reach as Reach
from surgery.measurement._told import note as note
from surgery.measurement._told import reach as reach
from surgery.measurement._told import require_outcomes as require_outcomes
from surgery.measurement._told import warn_if_interrupted as warn_if_interrupted
