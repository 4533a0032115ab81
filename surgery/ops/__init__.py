"""What can be done to a component: frozen descriptions of operations.

Pass one as `mode=`, or its name for the defaults: `mode="mean"` is
`mode=surgery.ops.Mean()`.
"""

from surgery.ops._base import AbstractDrawnValue as AbstractDrawnValue
from surgery.ops._base import AbstractNewValue as AbstractNewValue
from surgery.ops._base import AbstractOperation as AbstractOperation
from surgery.ops._base import AbstractOutputOperation as AbstractOutputOperation
from surgery.ops._base import AbstractParameterOperation as AbstractParameterOperation
from surgery.ops._base import AbstractStatistic as AbstractStatistic
from surgery.ops._base import Firing as Firing
from surgery.ops._base import Replacement as Replacement
from surgery.ops._changes import Change as Change
from surgery.ops._changes import Flip as Flip
from surgery.ops._changes import Scale as Scale
from surgery.ops._clock import Clock as Clock
from surgery.ops._clock import sweeping as sweeping
from surgery.ops._drawn import Drawn as Drawn
from surgery.ops._draws import Draws as Draws
from surgery.ops._draws import drawn_before as drawn_before
from surgery.ops._edit import Edit as Edit
from surgery.ops._edit import Inputs as Inputs
from surgery.ops._freeze import freeze_component as freeze_component
from surgery.ops._graded import AbstractGraded as AbstractGraded
from surgery.ops._observer import Observer as Observer
from surgery.ops._output import Call as Call
from surgery.ops._output import Constant as Constant
from surgery.ops._output import Identity as Identity
from surgery.ops._output import Zero as Zero
from surgery.ops._overlay import dialled as dialled
from surgery.ops._overlay import lay as lay
from surgery.ops._owned import tied_to as tied_to
from surgery.ops._parameters import Freeze as Freeze
from surgery.ops._parameters import Reinit as Reinit
from surgery.ops._parameters import Rewind as Rewind
from surgery.ops._parameters import new_values as new_values
from surgery.ops._proof import Proof as Proof
from surgery.ops._proof import Tally as Tally
from surgery.ops._prune import Prune as Prune
from surgery.ops._quantize import Quantize as Quantize
from surgery.ops._random_output import Noise as Noise
from surgery.ops._random_output import Resample as Resample
from surgery.ops._statistics import Mean as Mean
from surgery.ops._table import KIND_MODES as KIND_MODES
from surgery.ops._table import MODES as MODES
from surgery.ops._table import ModeLike as ModeLike
from surgery.ops._table import acts_on_outputs as acts_on_outputs
from surgery.ops._table import acts_on_parameters as acts_on_parameters
from surgery.ops._table import as_operation as as_operation
from surgery.ops._table import check_operation as check_operation
from surgery.ops._table import mode_name as mode_name
