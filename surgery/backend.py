"""Backends: the ways in which an operation takes part while a model runs.

Users never call a backend. `surgery.ablate` and `surgery.rank` ask one to place a
callable at a component; everything else (targets, operations, proof, undoing
parameters) is the same for all.
"""

from __future__ import annotations

import importlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import ClassVar, Protocol

from torch import nn

from surgery.anatomy import Component
from surgery.errors import BackendError
from surgery.evaluator import AbstractEvaluator
from surgery.ops import Clock, Inputs

GROUP = "surgery.backends"
"""Entry-point group in which third parties register backends."""

BUILT_IN: Mapping[str, str] = {
    "hooks": "surgery_backends.hooks:HooksBackend",
    "scoped": "surgery_backends.scoped:ScopedBackend",
    "rewrite": "surgery_backends.rewrite:RewriteBackend",
}
"""Backends that come with the package, imported when first used."""


EVALUATORS: Mapping[str, str] = {
    "cudagraph": "surgery_backends.fused:CudaGraphEvaluator",
    "fused": "surgery_backends.fused:FusedEvaluator",
    "replay": "surgery_backends.replay:ReplayEvaluator",
    "compiled": "surgery_backends.fused:CompiledEvaluator",
}
"""What evaluates many variants together, with the backends above."""


class Action(Protocol):
    """What a backend places: called at the component, its result stands instead.

    `inputs` is `(args, kwargs)` as they were before the component ran, for an action
    that wants inputs, else `((), {})`. `index` counts the component's calls in the
    running forward, by `clock.tick`.
    """

    wants_inputs: bool

    @property
    def component(self) -> Component: ...
    @property
    def clock(self) -> Clock: ...
    def __call__(self, output: object, inputs: Inputs, index: int) -> object: ...
    def for_child(self, component: Component) -> Action: ...


class AbstractBackend(ABC):
    """Places actions in a model.

    A backend guarantees that, from `attach` until the returned function is called,
    the action is called for every run of its component and what it returns takes the
    place of the component's output (for an input: of what goes into the model), with
    autograd, and that afterwards nothing of it is left. Actions at one component act
    in the order in which they were attached, and may be detached in any order.
    """

    name: ClassVar[str]

    @abstractmethod
    def covers(self, component: Component) -> bool:
        """Whether this backend can act on components of this kind."""

    @abstractmethod
    def attach(
        self, model: nn.Module, component: Component, action: Action
    ) -> Callable[[], None]:
        """Place `action` and return what takes it away again.

        Args:
            model: The model without wrappers.
            component: A component of it that this backend covers.
            action: What to call there.

        Raises:
            BackendError: It cannot act on this component; says why.
        """


def available_backends() -> tuple[str, ...]:
    """Names that `Engine(backend=...)` takes."""
    return (
        "auto",
        *EVALUATORS,
        *BUILT_IN,
        *(p.name for p in entry_points(group=GROUP)),
    )


def automatic(device: str) -> list[str]:
    """Which evaluators `"auto"` tries, in turn, for a model on such a device."""
    return ["cudagraph", "fused", "replay"] if device == "cuda" else ["fused", "replay"]


def evaluator_class(name: str) -> Callable[..., AbstractEvaluator]:
    """The class of this name among those of `EVALUATORS`."""
    module, _, attribute = EVALUATORS[name].partition(":")
    found: Callable[..., AbstractEvaluator] = getattr(
        importlib.import_module(module), attribute
    )
    return found


def get_backend(
    name: str = "auto", component: Component | None = None
) -> AbstractBackend:
    """The backend of this name; with `"auto"` the first that covers the component.

    Raises:
        BackendError: Unknown name, broken plug-in, or nothing covers the component.
    """
    if name == "auto" or name in EVALUATORS:
        for built_in in BUILT_IN:
            backend = _load(built_in, BUILT_IN[built_in])
            if component is None or backend.covers(component):
                return backend
        kind = component.kind if component else ""
        raise BackendError(f"no backend acts on {component} ({kind})")
    if name in BUILT_IN:
        backend = _load(name, BUILT_IN[name])
    else:
        backend = _load_plug_in(name)
    if component is not None and not backend.covers(component):
        raise BackendError(
            f"backend {name!r} does not act on {component} ({component.kind}); use "
            "Engine(backend='auto')"
        )
    return backend


def _load_plug_in(name: str) -> AbstractBackend:
    found = [point for point in entry_points(group=GROUP) if point.name == name]
    if not found:
        raise BackendError(
            f"unknown backend {name!r}; there are {', '.join(available_backends())}"
        )
    if len(found) > 1:
        places = ", ".join(point.value for point in found)
        warnings.warn(
            f"several packages register the backend {name!r} ({places}); the first is "
            "used",
            stacklevel=3,
        )
    return _load(name, found[0].value)


def _load(name: str, place: str) -> AbstractBackend:
    module, _, attribute = place.partition(":")
    try:
        backend: object = getattr(importlib.import_module(module), attribute)()
    except Exception as error:  # a plug-in's own code may raise anything
        raise BackendError(
            f"backend {name!r} ({place}) cannot be loaded: "
            f"{type(error).__name__}: {error}; repair or uninstall the package"
        ) from error
    if not isinstance(backend, AbstractBackend):
        raise BackendError(
            f"backend {name!r} ({place}) is no AbstractBackend but "
            f"{type(backend).__name__}"
        )
    return backend
