"""ablate, freeze: put an operation in effect on a model in place, until undone."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from torch import nn

from surgery.ablation._effects import ComponentEffect, Effects
from surgery.ablation._example import example_call
from surgery.ablation._gather import gather
from surgery.ablation._variant import Variant
from surgery.anatomy import Component, is_scripted, record, unwrap
from surgery.errors import BackendError, NoEffectError
from surgery.ops import Clock, ModeLike, acts_on_outputs, as_operation
from surgery.targets import TargetLike, resolve_group


class Ablation:
    """An operation in effect on a model; made by `surgery.ablate`.

    As a context manager it is undone on exit, whatever happened inside.

    Attributes:
        components: What it operates on.
        active: Whether it is in effect.
    """

    def __init__(self, model: nn.Module, variant: Variant, clock: Clock) -> None:
        self.components: tuple[Component, ...] = variant.components
        self.active = True
        self._name = type(model).__name__
        self._variant = variant
        self._clock = clock
        with ExitStack() as stack:
            stack.callback(clock.watch(model))
            stack.callback(variant.apply())
            self._undo = stack.pop_all()  # not undone at the end of this block

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.restore()
        else:  # an exception under way is not replaced by another
            self._take_off()

    def restore(self) -> None:
        """Undo the operation, exactly, and nothing else. A second call does nothing.

        Raises:
            NoEffectError: The model ran, but a component never took part. The
                operation is undone all the same.
        """
        if self.active:
            self._take_off()
            if int(self._clock.forwards):
                self._require_effect("the model ran")

    def effect(self, *, strict: bool = False) -> Effects:
        """What the operation has done so far, per component.

        Args:
            strict: Raise if any component never took part.

        Raises:
            NoEffectError: With `strict`, some component has not taken part so far.
        """
        if strict:
            self._require_effect("so far")
        variant = self._variant
        return Effects(
            tuple(
                ComponentEffect(
                    component=str(component),
                    mode=variant.mode,
                    fired=variant.fired(component),
                    changed=variant.changed(component),
                    note=variant.note(component),
                )
                for component in self.components
            )
        )

    def __repr__(self) -> str:
        names = [str(component) for component in self.components]
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        state = "active" if self.active else "undone"
        return f"<Ablation {self._variant.mode} of {shown} in {self._name}, {state}>"

    def _take_off(self) -> None:
        self.active = False
        self._undo.close()

    def _require_effect(self, when: str) -> None:
        never = self._variant.never_fired()
        if never:
            names = ", ".join(str(component) for component in never[:5])
            raise NoEffectError(
                f"{when}, but mode={self._variant.mode!r} never took part at {names}"
                f"{' ...' if len(never) > 5 else ''}: {_why_idle(never[0])}"
            )


def _why_idle(component: Component) -> str:
    if component.facts is not None:
        return (
            "it ran in the forward that was recorded, but these inputs take another "
            "path through the model, or compiled code ran; pass an example of theirs "
            "to inputs="
        )
    if component.kind not in ("module", "input", "channel"):
        return (
            "nothing like it ran in the own code of "
            f"{component.path or 'the model'!r}; pass an example to inputs= to be told "
            "what there is, or see surgery.components(model, x)"
        )
    return (
        "the forward never called it, or called .forward() directly or compiled code. "
        "surgery.components(model, x) lists what is called; to operate on a module "
        "that is bypassed, target its parameters or its parent"
    )


def ablate(
    model: nn.Module,
    target: TargetLike,
    mode: ModeLike = "zero",
    *,
    dial: float = 1.0,
    data: object = None,
    inputs: object = None,
    kwargs: Mapping[str, Any] | None = None,
    strict: bool = False,
    seed: int = 0,
) -> Ablation:
    """Take a part of a model out of action, or replace, dampen, freeze, re-draw it.

    Changes the model in place, at once: use it in a `with` block, or call `restore()`
    on what it returns. `state_dict` keys stay the same throughout; tensors change in
    place, so that optimizers keep them. Parameters that were trained meanwhile stay
    trained, except those whose values the operation itself replaced. A `deepcopy` or
    pickle of the model made meanwhile is ablated for good.

    Args:
        model: Any module; parallel and compiled wrappers are looked through.
        target: What to operate on, such as `"layers.2"`; a list is one group.
        mode: `"zero"`, `"identity"`, `"mean"`, `"resample"`, `"noise"`, `"constant"`,
            `"reinit"`, `"freeze"`, an operation from `surgery.ops`, or a function
            `f(output, inputs) -> output`.
        dial: m in [0, 1]: y(m) = (1 - m) · y + m · op(y). Default: 1, in full.
        data: What `mean` averages over and `resample` takes donors from (other modes
            have no use for it): a DataLoader,
            a Dataset, a pair of arrays or an iterable of batches. One pass is made.
        inputs: An example input (a tensor, a tuple of positional inputs, or a mapping).
            Where given, one recorded forward checks the target before anything is
            changed, and tells containers from modules that run.
        kwargs: Keyword inputs of that example.
        strict: Refuse adapters for `identity` where shapes differ.
        seed: Seed of everything that is drawn. The global generators stay as they are.

    Returns:
        The operation in effect, with `restore()` and `effect()`.

    Raises:
        BackendError: No backend can act there, as on TorchScript.
        TargetError: The target names nothing in this model.
        OperationError: The mode makes no sense on this kind of component.
        DataError: Data is missing, empty or unusable.
        NoEffectError: On leaving the block: a component never took part.

    Example:
        >>> with surgery.ablate(model, "layers.2"):
        ...     accuracy = evaluate(model)
    """
    operation = as_operation(mode)
    inner = unwrap(model)
    if is_scripted(inner):
        raise BackendError(
            f"{type(inner).__name__} is a TorchScript model, which takes no Python "
            "hooks; operate on the model as it was before torch.jit.script"
        )
    given = example_call(inputs, kwargs)
    seen = None if given is None else record(inner, *given)
    on_outputs = acts_on_outputs(operation)
    components = resolve_group(inner, target, seen, called_only=on_outputs)
    clock = Clock()
    variant = Variant(
        inner, components, operation, clock, dial=dial, seed=seed, strict=strict
    )
    gather(inner, variant, clock, data)
    return Ablation(inner, variant, clock)


def freeze(
    model: nn.Module,
    target: TargetLike,
    *,
    inputs: object = None,
    kwargs: Mapping[str, Any] | None = None,
) -> Ablation:
    """Stop a part of a model from learning; the same as `ablate(mode="freeze")`.

    Its parameters get no gradients (and so no weight decay from an optimizer), and its
    BatchNorm statistics stay, also after `model.train()`. Gradients still flow through
    it. Dropout inside follows `model.train()` as before. Gradients that they had come
    back on `restore()`, also if the optimizer cleared its gradients meanwhile.

    Args:
        model: Any module.
        target: What to freeze, such as `"layers.0"`; a list is one group.
        inputs: An example input, as for `ablate`. A branch or a projected skip needs
            it: which modules compute it, only a forward tells.
        kwargs: Keyword inputs of that example.
    """
    return ablate(model, target, mode="freeze", inputs=inputs, kwargs=kwargs)
