"""check_backend: the contract of a backend, tried on everything that it covers."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from surgery.anatomy import Component, record
from surgery.backend import AbstractBackend, get_backend
from surgery.errors import BackendError, OperationError
from surgery.ops import KIND_MODES, check_operation
from surgery.targets import resolve
from surgery.testing._mount import OPERATIONS
from surgery.testing._per_mode import PER_MODE
from surgery.testing._per_part import PER_PART
from surgery.testing._report import Finding, Report
from surgery.testing._subjects import SUBJECTS, Subject
from surgery.testing._trial import Trial, Wrong

_BY_NAME = ("zero", "identity", "callable")


@dataclass(frozen=True)
class _Part:
    """A component of a subject, how it was found, and modes that make sense there."""

    subject: Subject
    component: Component
    kind: str
    found: str
    allowed: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.component} of {self.subject.make.__name__} ({self.found})"


def check_backend(
    backend: str | AbstractBackend,
    *,
    kinds: Collection[str] | None = None,
    modes: Collection[str] | None = None,
) -> Report:
    """Try a backend on every kind of component that it covers, in every mode.

    Its results are compared with forwards in which the operation is written out by
    hand: values, gradients, half dials; then undoing, in any order and after errors;
    copies, pickles, train mode, threads. Takes seconds, and raises nothing for what a
    backend does wrong: end a test with `check_backend("mine").require()`.

    Args:
        backend: A name, as `Engine(backend=...)` takes it, or a backend itself.
        kinds: Kinds of component to try, as the rows of the kind x mode table are
            called. Default: all that it covers.
        modes: Output modes to try. Default: all that the table allows.

    Returns:
        What was tried and what failed.

    Raises:
        BackendError: No backend has this name.
        OperationError: No kind or no mode has this name.
    """
    _require_known("kind", kinds, KIND_MODES)
    _require_known("mode", modes, OPERATIONS)
    if isinstance(backend, str):
        backend = get_backend(backend)
    findings: list[Finding] = []
    for part in _parts():
        if kinds is not None and part.kind not in kinds:
            continue
        if backend.covers(part.component):
            findings += _try_part(backend, part, modes)
    return Report(type(backend).name, tuple(findings))


def _require_known(
    what: str, given: Collection[str] | None, known: Mapping[str, object]
) -> None:
    unknown = sorted(set(given or ()) - set(known))
    if unknown:
        raise OperationError(
            f"no {what} is called {', '.join(unknown)}; there are {', '.join(known)}"
        )


def _parts() -> Iterator[_Part]:
    """Each part as a recorded forward tells of it, and as its name alone does."""
    for subject in SUBJECTS:
        model = subject.model()
        seen = record(model, (), subject.inputs(0))
        for target in subject.targets:
            recorded = resolve(model, target, seen)
            kind, allowed = _kind(recorded[0]), _allowed(subject, recorded[0])
            for component in recorded:
                yield _Part(subject, component, kind, "recorded", allowed)
            few = tuple(mode for mode in allowed if mode in _BY_NAME)
            for component in resolve(model, target, None):
                yield _Part(subject, component, kind, "by name", few)


def _kind(component: Component) -> str:
    """The row of the kind x mode table."""
    if component.kind == "module" and component.call is not None:
        return "call"
    place = component.place
    if place is not None and place.constant:
        return "constant operand"
    projected = component.kind == "skip" and place is not None and place.projected
    return "projected skip" if projected else component.kind


def _try_part(
    backend: AbstractBackend, part: _Part, modes: Collection[str] | None
) -> Iterator[Finding]:
    allowed = [mode for mode in part.allowed if modes is None or mode in modes]
    if allowed and _asks_for_inputs(backend, part):
        yield Finding("asks for inputs", part.kind, str(part), allowed[0])
        return
    for place, mode in enumerate(allowed):
        trial = Trial(backend, part.subject, part.component, mode)
        checks = PER_MODE if place else {**PER_MODE, **PER_PART}
        for name, check in checks.items():
            error = _error(check, trial)
            yield Finding(name, part.kind, str(part), mode, error)


def _asks_for_inputs(backend: AbstractBackend, part: _Part) -> bool:
    """Whether it refuses, as it may, what only a recorded forward tells."""
    if part.component.place is not None or part.kind in ("module", "call", "input"):
        return False
    trial = Trial(backend, part.subject, part.component, "zero")
    try:
        trial.mount().remove()
    except BackendError as error:
        return str(part.component) in str(error) and "inputs=" in str(error)
    except Exception:  # told by every check
        return False
    return False


def _allowed(subject: Subject, component: Component) -> tuple[str, ...]:
    """Output modes that the kind x mode table allows, and that two samples tell of."""
    allowed: list[str] = []
    for mode, make in OPERATIONS.items():
        if mode not in subject.without.get(str(component), ()):
            with suppress(OperationError):
                check_operation(make(), component, 1.0)
                allowed.append(mode)
    return tuple(allowed)


def _error(check: Callable[[Trial], None], trial: Trial) -> str:
    try:
        check(trial)
    except Wrong as wrong:
        return str(wrong)
    except Exception as error:  # a third party's code may raise anything
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        return f"{type(error).__name__}: {error} ({where})"
    return ""
