"""Everything `surgery` raises on purpose.

    SurgeryError
    ├── TargetError           a target does not parse, or names nothing in this model
    ├── OperationError        the operation makes no sense for this component
    │   └── ShapeMismatchError    ... because of the shapes (or types) it met
    ├── NoEffectError         the operation was installed but never took part
    ├── BackendError          a backend is unknown, broken, or cannot do this
    ├── DataError             data, labels, outputs or metric do not fit each other
    └── StudyError            a retraining study is ill-posed or its storage is unusable

Each message says what was wrong, what was got, and what mends it.
"""


class SurgeryError(Exception):
    """Base of all errors raised by this package."""


class TargetError(SurgeryError):
    """A target does not parse, or names nothing in this model."""


class OperationError(SurgeryError):
    """The operation makes no sense for this component."""


class ShapeMismatchError(OperationError):
    """The operation does not fit the shapes or types that it met."""


class NoEffectError(SurgeryError):
    """The model ran, but the operation never took part in it."""


class BackendError(SurgeryError):
    """A backend is unknown, broken, or cannot do what was asked."""


class DataError(SurgeryError):
    """Data, labels, outputs or metric do not fit each other."""


class StudyError(SurgeryError):
    """A retraining study is ill-posed, or its storage is unusable."""
