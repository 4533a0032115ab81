"""The plan: which rows there are, decided before a sweep begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from surgery.ablation import Variant
from surgery.anatomy import Component, Record
from surgery.errors import OperationError, ShapeMismatchError
from surgery.ops import (
    AbstractOperation,
    Freeze,
    Identity,
    acts_on_outputs,
    acts_on_parameters,
    check_operation,
    mode_name,
)
from surgery.targets import TargetLike, resolve_each


@dataclass(frozen=True)
class Plan:
    """Rows before they are measured.

    Attributes:
        names: Row names, in order.
        variants: What is evaluated for each.
        skipped: Components that are left out, as `component, cause`.
    """

    names: list[str]
    variants: list[Variant]
    skipped: list[dict[str, str]]


def plan_variants(
    model: nn.Module,
    targets: TargetLike,
    seen: Record,
    operation: AbstractOperation,
    dial: float,
    variant: Callable[[Sequence[Component]], Variant],
    *,
    skip: bool,
) -> Plan:
    """Resolve targets into rows; refuse, or with `skip` leave out, what cannot be done.

    Raises:
        TargetError: A target names nothing that runs.
        OperationError: The mode makes no sense on a component.
    """
    if isinstance(operation, Freeze):
        raise OperationError(
            "mode='freeze' changes training, not outputs: it cannot be ranked; use "
            "surgery.freeze(model, target) and train, or another mode"
        )
    parts = Plan([], [], [])
    on_outputs = acts_on_outputs(operation)
    for name, members in resolve_each(model, targets, seen, called_only=on_outputs):
        try:
            for component in members:
                check_operation(operation, component, dial)
                _check_outputs(operation, component)
            made = variant(members)
            made.prepare()
        except OperationError as error:
            if not skip:
                raise
            parts.skipped.append({"component": name, "cause": str(error)})
            continue
        parts.names.append(name)
        parts.variants.append(made)
    if not parts.variants:
        causes = "; ".join(s["cause"] for s in parts.skipped[:3])
        raise OperationError(f"nothing is left to measure: {causes}")
    if on_outputs:
        parts.skipped.extend(_idle(model, targets, seen, parts.names))
    return parts


def _check_outputs(operation: AbstractOperation, component: Component) -> None:
    facts = component.facts
    if facts is None or component.kind in ("input", "parameter"):
        return
    if acts_on_parameters(operation, component):
        return
    if facts.output_shape is None:
        raise OperationError(
            f"no tensor comes out of {component} ({facts.type}): mode="
            f"{mode_name(operation)!r} has nothing to act on; leave it out, or "
            "pass on_error='skip'"
        )
    if isinstance(operation, Identity) and facts.identity == "no":
        raise ShapeMismatchError(
            f"{component} ({facts.type}) takes {facts.input_shape} and returns "
            f"{facts.output_shape}: no input can stand in for its output; use "
            "mode='zero', leave it out, or pass on_error='skip'"
        )


def _idle(
    model: nn.Module, targets: TargetLike, seen: Record, names: Sequence[str]
) -> list[dict[str, str]]:
    """Modules that the targets match but that never run: shown, not measured."""
    known = set(names)
    return [
        {"component": name, "cause": members[0].facts.note}
        for name, members in resolve_each(model, targets, seen, called_only=False)
        if name not in known
        and len(members) == 1
        and members[0].facts is not None
        and members[0].facts.calls == 0
        and not any(path.startswith(f"{members[0].path}.") for path in seen.order)
    ]
