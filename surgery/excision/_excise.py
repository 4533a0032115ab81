"""excise: a new plain model with an operation built in and what became dead removed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from surgery.ablation import Variant, example_call, gather
from surgery.anatomy import Component, Record, is_scripted, record, unwrap
from surgery.errors import BackendError, DataError, NoEffectError
from surgery.excision._agreement import Truth
from surgery.excision._build import NO_SHRINKING, ONLY_CUTS, Order, build, copied
from surgery.excision._cut import BuiltInClock, require_restored
from surgery.excision._example import Example
from surgery.excision._result import Excised, Excision
from surgery.ops import ModeLike, acts_on_outputs, as_operation
from surgery.targets import TargetLike, resolve_group

_FEW = 8


def excise(
    model: nn.Module,
    target: TargetLike,
    mode: ModeLike = "zero",
    *,
    inputs: object = None,
    kwargs: Mapping[str, Any] | None = None,
    data: object = None,
    dial: float = 1.0,
    strict: bool = False,
    seed: int = 0,
) -> nn.Module:
    """Build an operation into a new model, for good, and remove what became dead.

    The model given is left as it is. The new one has the same outputs on the example,
    in the model's present mode, as the model has under `surgery.ablate`: that is
    checked before it is returned. It is a plain module: it deep-copies, pickles, saves
    and loads, trains, compiles and exports where the model does, and the parameters
    that are left keep their names.

    Means, in this order: a called module is swapped for a small plain one; the smallest
    block around a skip, branch, join or function gets new code; weights of heads and
    channels become smaller where all that hang together are known, else zero; where
    none serves, the reversible operation is attached for good. `model.excision` says
    which it was, and prints as a table.

    Args:
        model: Any module; parallel and compiled wrappers are looked through.
        target: As for `surgery.ablate`; a list is one group.
        mode: As for `surgery.ablate`.
        inputs: An example input: a tensor, a tuple of positional inputs or a mapping.
        kwargs: Keyword inputs of that example.
        data: What `mean` averages over and `resample` takes donors from.
        dial: m in [0, 1]; below 1 the component still runs.
        strict: Refuse adapters for `identity` where shapes differ.
        seed: Seed of everything that is drawn.

    Returns:
        The new model, with its report in `excision`.

    Raises:
        BackendError: The model cannot be copied, or no means gave the same outputs.
        TargetError: The target names nothing in this model.
        OperationError: The mode makes no sense on this kind of component, or another
            operation is in effect on the model.
        DataError: There is no example input, or data is missing or unusable.
        NoEffectError: A component never takes part in the example.

    Example:
        >>> smaller = surgery.excise(model, "layer3.1:branch", inputs=x)
        >>> print(smaller.excision)
    """
    operation = as_operation(mode)
    inner = unwrap(model)
    if is_scripted(inner):
        raise BackendError(
            f"{type(inner).__name__} is a TorchScript model, whose code is fixed; "
            "excise from the model as it was before torch.jit.script"
        )
    given = example_call(inputs, kwargs)
    if given is None:
        raise DataError(
            "excise checks the new model on an example input, but got none: pass "
            "inputs=x (a tensor, a tuple of positional inputs or a mapping)"
        )
    require_restored(inner)
    seen = record(inner, *given)
    called_only = acts_on_outputs(operation)
    components = resolve_group(inner, target, seen, called_only=called_only)
    clock = BuiltInClock()
    variant = Variant(
        inner, components, operation, clock, dial=dial, seed=seed, strict=strict
    )
    gather(inner, variant, clock, data)
    example = Example(*given)
    truth = Truth(inner, variant, clock, example, _blocks(components, seen))
    _require_fired(variant)
    order = Order(inner, variant, seen, example, dial, seed)
    made, rows, agreed = _first_that_agrees(order, truth)
    # Not by `=`: to type checkers every attribute of a module is a tensor or a module.
    setattr(made, "excision", _report(inner, made, rows, agreed))  # noqa: B010
    return made


def _blocks(components: Sequence[Component], seen: Record) -> frozenset[str]:
    """The blocks whose outputs are compared: the smallest around each component.

    What comes out of the model may hide what a block does, as a small layer scale does.
    """
    found: set[str] = set()
    for component in components:
        path = component.path
        if component.kind in ("module", "channel", "parameter"):
            path = path.rpartition(".")[0]  # it may go, or become smaller, itself
        while path and not (path in seen.facts and seen.facts[path].calls):
            path = path.rpartition(".")[0]
        found.add(path)
    return frozenset(found - {""})


def _require_fired(variant: Variant) -> None:
    idle = [str(component) for component in variant.never_fired()]
    if idle:
        raise NoEffectError(
            f"mode={variant.mode!r} never took part at {', '.join(idle[:5])} in the "
            "example: nothing would be excised; surgery.components(model, x) lists "
            "what is called"
        )


def _first_that_agrees(
    order: Order, truth: Truth
) -> tuple[nn.Module, list[Excised], str]:
    """The attempt with the simplest means that does what the operation does."""
    failure, cause = "", None
    for level in _levels(order.variant.components):
        model = copied(order.model)
        try:
            rows = build(order, model, level)
            agreed, failure = truth.agreement(model)
        except Exception as error:  # a means that fails is one that does not serve
            failure, cause = f"{type(error).__name__}: {error}", error
            continue
        if agreed:
            return model, rows, agreed
        cause = None
    names = ", ".join(map(str, order.variant.components[:3]))
    raise BackendError(
        f"no means built mode={order.variant.mode!r} at {names} into the model with "
        f"the outputs that surgery.ablate gives (the last one: {failure}); does the "
        "model itself give the same outputs twice? use surgery.ablate"
    ) from cause


def _levels(components: tuple[Component, ...]) -> Iterator[dict[str, int]]:
    """How many of the means each attempt may use: fewer and fewer."""
    names = [component.name for component in components]
    yield {}
    for level in (NO_SHRINKING, ONLY_CUTS):
        if 1 < len(names) <= _FEW:
            for name in names:
                yield {name: level}
        yield dict.fromkeys(names, level)


def _report(
    before: nn.Module, after: nn.Module, rows: list[Excised], agreed: str
) -> Excision:
    earlier = getattr(before, "excision", None)
    first = earlier if isinstance(earlier, Excision) else None
    counts = tuple(sum(p.numel() for p in m.parameters()) for m in (before, after))
    return Excision(
        rows=(*(first.rows if first else ()), *rows),
        agreement=agreed,
        parameters=(first.parameters[0] if first else counts[0], counts[1]),
    )
