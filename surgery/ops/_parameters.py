"""Parameter operations: new values for the tensors that a component owns."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, final

from torch import Tensor, nn

from surgery._random import derive
from surgery.anatomy import Component
from surgery.errors import OperationError, ShapeMismatchError
from surgery.ops._base import (
    AbstractDrawnValue,
    AbstractNewValue,
    AbstractOperation,
    AbstractOutputOperation,
    AbstractParameterOperation,
    Firing,
)
from surgery.ops._owned import owned_parameters, owned_tensors
from surgery.ops._random_output import Noise
from surgery.ops._reinit import fresh_tensors
from surgery.ops._writable import require_writable, takes


@final
@dataclass(frozen=True)
class Reinit(AbstractParameterOperation):
    """Parameters (and BatchNorm statistics) drawn anew, as the layer draws its own.

    A timm model is built once more from its registry entry. Else, in this order:
    `reset_parameters()` of every module inside; the initialisation scheme of the model
    around it (`_init_weights(module)` as in Hugging Face models, or `init_weights()`),
    outermost first; for modules with neither, a rebuilt module of the same class. What
    none of these reaches is an error. The result's note says which way it was: models
    that initialise their layers while they are built, outside of any method (as in
    torchvision), are only drawn as their layers' own defaults; use `factory` for them.

    Attributes:
        factory: Builds a freshly initialised model under the seed; where given, the
            component's tensors come from there. The surest way.
    """

    factory: Callable[[], nn.Module] | None = None
    mode: ClassVar[str] = "reinit"
    random: ClassVar[bool] = True

    def values(
        self, model: nn.Module, component: Component, seed: int
    ) -> Mapping[Tensor, AbstractNewValue]:
        names = set(owned_tensors(model, component))
        seed = derive(seed, component.name)  # or layers of one shape would be alike
        fresh, how = fresh_tensors(model, component, names, seed, self.factory)
        return _fixed(component, owned_tensors(model, component), fresh, how)


@final
@dataclass(frozen=True)
class Rewind(AbstractParameterOperation):
    """Parameters and buffers from an earlier state of the same model.

    Attributes:
        state_dict: State of the whole model, as `model.state_dict()` gave it; may lack
            what the component does not own.
    """

    state_dict: Mapping[str, Tensor] = field(repr=False)
    mode: ClassVar[str] = "rewind"

    def values(
        self, model: nn.Module, component: Component, seed: int
    ) -> Mapping[Tensor, AbstractNewValue]:
        return _fixed(component, self._present(model, component), self.state_dict)

    def _present(self, model: nn.Module, component: Component) -> dict[str, Tensor]:
        # Buffers that a state dict does not keep (non-persistent) stay as they are.
        kept = set(model.state_dict())
        return {
            name: tensor
            for name, tensor in owned_tensors(model, component).items()
            if name in kept or name in self.state_dict
        }


@final
@dataclass(frozen=True)
class Freeze(AbstractOperation):
    """No gradients, no moving BatchNorm statistics, whatever `train()` says."""

    mode: ClassVar[str] = "freeze"


@final
@dataclass(frozen=True)
class _Fixed(AbstractNewValue):
    value: Tensor
    note: str = ""
    held: ClassVar[bool] = True

    def __call__(self, present: Tensor) -> Tensor:
        return self.value.to(device=present.device, dtype=present.dtype)


@final
@dataclass(frozen=True)
class _Applied(AbstractNewValue):
    """An output operation on the values of a parameter."""

    operation: AbstractOutputOperation
    component: Component
    seed: int

    def __call__(self, present: Tensor) -> Tensor:
        firing = Firing(self.component, seed=self.seed)
        return self.operation.apply(present, firing).tensor


@final
@dataclass(frozen=True)
class _Noisy(AbstractDrawnValue):
    """Noise added to a parameter."""

    noise: Noise
    seed: int

    @property
    def key(self) -> Hashable:
        return "noise", self.noise.distribution, self.seed

    def draw(self, present: Tensor) -> Tensor:
        return self.noise.numbers(present, self.seed)

    def made(self, present: Tensor, draw: Tensor) -> Tensor:
        return self.noise.added(present, draw)


def new_values(
    operation: AbstractOperation, model: nn.Module, component: Component, seed: int
) -> Mapping[Tensor, AbstractNewValue]:
    """For each tensor that `operation` changes in `component`, its new value.

    Raises:
        OperationError: It owns no parameters, or some that cannot be written.
    """
    found = owned_parameters(model, component)
    for name, tensor in found.items():
        require_writable(name, tensor, component, operation)
    if isinstance(operation, AbstractParameterOperation):
        return operation.values(model, component, seed)
    if not isinstance(operation, AbstractOutputOperation):
        raise OperationError(f"mode={operation.mode!r} does not change values")
    taken = {t: name for name, t in found.items() if takes(operation, t)}
    seeds = {t: derive(seed, "parameter", name) for t, name in taken.items()}
    if isinstance(operation, Noise):
        return {tensor: _Noisy(operation, seeds[tensor]) for tensor in taken}
    return {t: _Applied(operation, component, seeds[t]) for t in taken}


def _fixed(
    component: Component,
    present: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    note: str = "",
) -> dict[Tensor, AbstractNewValue]:
    missing = sorted(set(present) - set(wanted))
    if missing:
        raise OperationError(
            f"the given state has nothing for {', '.join(missing[:5])} of {component} "
            f"(it has {len(wanted)} tensors, e.g. {', '.join(list(wanted)[:3])}); pass "
            "a state_dict of the whole model"
        )
    for name, tensor in present.items():
        if wanted[name].shape != tensor.shape:
            raise ShapeMismatchError(
                f"{name} has shape {tuple(tensor.shape)} in the model and "
                f"{tuple(wanted[name].shape)} in the given state; pass the state of "
                "the same architecture"
            )
    return {
        tensor: _Fixed(wanted[name].detach().clone(), note)
        for name, tensor in present.items()
    }
