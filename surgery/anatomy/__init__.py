"""What a model is made of: one recorded forward, read into components."""

from surgery.anatomy._component import Axis as Axis
from surgery.anatomy._component import Component as Component
from surgery.anatomy._component import Facts as Facts
from surgery.anatomy._component import Kind as Kind
from surgery.anatomy._component import Shape as Shape
from surgery.anatomy._component import Slice as Slice
from surgery.anatomy._components import Components as Components
from surgery.anatomy._components import components as components
from surgery.anatomy._fit import Fit as Fit
from surgery.anatomy._fit import adapt as adapt
from surgery.anatomy._fit import find_fit as find_fit
from surgery.anatomy._record import InputField as InputField
from surgery.anatomy._record import Record as Record
from surgery.anatomy._recorder import preserved_buffers as preserved_buffers
from surgery.anatomy._recorder import record as record
from surgery.anatomy._recorder import record_run as record_run
from surgery.anatomy._spelling import canonical as canonical
from surgery.anatomy._structure import find_main as find_main
from surgery.anatomy._structure import main_tensor as main_tensor
from surgery.anatomy._structure import mapped as mapped
from surgery.anatomy._structure import replaced as replaced
from surgery.anatomy._structure import tensors as tensors
from surgery.anatomy._summary import input_fields as input_fields
from surgery.anatomy._wrappers import is_scripted as is_scripted
from surgery.anatomy._wrappers import may_be_iterated as may_be_iterated
from surgery.anatomy._wrappers import unwrap as unwrap
