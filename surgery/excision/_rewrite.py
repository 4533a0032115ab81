"""Second means: the smallest block around a component, rewritten without it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import fx, nn

from surgery.anatomy import Component, tensors
from surgery.errors import BackendError
from surgery.excision._block import expect, give_code
from surgery.excision._dead import remove_dead
from surgery.excision._evaluate import evaluate
from surgery.excision._example import is_opaque
from surgery.excision._operands import edit_operand, edit_result
from surgery.excision._rewriting import Rewriting
from surgery.excision._swap import Unfit
from surgery.excision._watch import Watched
from surgery.graphs import OwnCode, trace_own_code
from surgery.ops import Constant, Edit, Identity, Mean, Zero

_PLAIN = (type(None), bool, int, float, str)


def begin(
    block: nn.Module,
    path: str,
    seen: Watched,
    projected: frozenset[tuple[str, int]],
) -> Rewriting:
    """Trace a block's own code.

    Args:
        block: The block.
        path: Where it is in the model.
        seen: What was seen of it in the example run.
        projected: Residual adds of it (function, index) whose skip is a projection.

    Raises:
        Unfit: It cannot become a graph that does the same on all inputs.
    """
    if seen.values is None:
        raise Unfit("it does not run")
    args, kwargs = seen.values
    if any(map(is_opaque, (*args, *kwargs.values()))):
        # It is called in ways that one example does not show, as in generate().
        raise Unfit("it is given a cache that it may fill")
    try:
        own = trace_own_code(block, *seen.values)
        values = evaluate(own.graph, block, *seen.values)
    except BackendError as error:
        raise Unfit(str(error).split("; use backend")[0]) from error
    if own.guards:
        raise Unfit(f"its code branches on sizes ({own.guards[0]})")
    _hold_to_arguments(own, path)
    return Rewriting(block, path, own, values, projected, seen)


def edit(rewriting: Rewriting, component: Component, operation: Edit) -> list[str]:
    """Write one operation into the graph and take out what became dead.

    Returns:
        Paths (in the block) of the modules and parameters that it used no longer.

    Raises:
        Unfit: The graph cannot say the same.
    """
    place = component.place
    if place is None or operation.dial != 1:
        raise Unfit("at a dial below 1 it still runs" if place else "place not known")
    if not isinstance(operation.operation, Zero | Identity | Constant | Mean):
        raise Unfit(f"{operation.operation.mode} acts on what is computed")
    before = used(rewriting.graph)
    for site in place.sites:
        if site.call is not None or site.axis is not None or site.index is None:
            raise Unfit("only some calls, or a part of a tensor, are meant")
        node = rewriting.own.sites.get((site.function, site.index))
        if node is None or node.graph is not rewriting.graph:
            raise Unfit(f"{site.function}#{site.index} is not in its graph")
        if site.operand is None:
            freed = edit_result(rewriting, node, component, operation)
        else:
            freed = edit_operand(rewriting, node, site.operand, component, operation)
        remove_dead(rewriting.graph, freed, rewriting.values)
    return sorted(before - used(rewriting.graph))


def removable(rewriting: Rewriting, freed: Sequence[str]) -> list[str]:
    """Those of `freed` that nobody uses, once all edits are done; outermost first.

    A module that is called needs its weights, whoever else reads them, and what code
    outside of the block reads must stay where it is.
    """
    kept = [*used(rewriting.graph), *rewriting.seen.read]
    found: list[str] = []
    for path in sorted(freed):
        if not any(_within(path, k) or _within(k, path) for k in kept):
            if not any(_within(path, f) for f in found):
                found.append(path)
    return found


def finish(rewriting: Rewriting, removed: Sequence[str]) -> None:
    """Give the block its new code, and take out what is no longer used."""
    rewriting.graph.lint()
    block = rewriting.block
    for name, module in rewriting.added.items():
        block.add_module(name, module.train(block.training))
    give_code(block, rewriting.graph)
    for path in removed:
        _remove(block, path)
    _require_whole(block)


def _require_whole(block: nn.Module) -> None:
    """Run what else its class does with its parts.

    An error here means that the block cannot do without them.
    """
    training = {module: module.training for module in block.modules()}
    block.train(not block.training)
    block.state_dict()
    repr(block)
    for module, mode in training.items():
        module.training = mode


def used(graph: fx.Graph) -> set[str]:
    """Paths of the modules and attributes that a graph uses."""
    return {str(n.target) for n in graph.nodes if n.op in ("call_module", "get_attr")}


def _hold_to_arguments(own: OwnCode, path: str) -> None:
    """Let the graph refuse other values for arguments that were no tensors."""
    nodes = list(own.graph.nodes)
    given = {str(n.target): n for n in nodes if n.op == "placeholder"}
    first = next(n for n in nodes if n.op != "placeholder")
    with own.graph.inserting_before(first):
        for name, value in own.baked.items():
            if isinstance(value, _PLAIN) and name in given:
                own.graph.call_function(expect, (given[name], value, name, path))
            elif tensors(value) == [] and isinstance(value, tuple | list | dict):
                if value:
                    raise Unfit(f"it is called with {name}={value!r}")


def _within(path: str, outer: str) -> bool:
    return f"{path}.".startswith(f"{outer}.")


def _remove(block: nn.Module, path: str) -> None:
    """Take out a module or parameter, and containers that it leaves empty."""
    above, _, name = path.rpartition(".")
    try:
        owner = block.get_submodule(above)
    except AttributeError:  # went with another path, of which this is a part
        return
    for held in (owner._modules, owner._parameters, owner._buffers):
        if name in held:
            del held[name]
    if above and not any((owner._modules, owner._parameters, owner._buffers)):
        _remove(block, above)
