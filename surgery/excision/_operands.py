"""Writing an operation into a graph: at a join's operand, or a function's result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from surgery.anatomy import Component, find_fit, operands, with_operand
from surgery.excision._modules import Filled, Fitted, Held
from surgery.excision._rewriting import (
    Rewriting,
    fits_result,
    noted,
    replace_node,
    rule_like,
    same_type,
    seen_after,
)
from surgery.excision._shapes import Follow, ShapeRule, find_rule
from surgery.excision._swap import Unfit, held_value
from surgery.ops import Constant, Edit, Identity, Zero

_OUT_OF_PLACE: Mapping[str, Any] = {"add": torch.add, "mul": torch.mul}


def edit_operand(
    work: Rewriting, node: fx.Node, position: int, component: Component, by: Edit
) -> list[fx.Node]:
    """Put the operation in one operand's place; returns whom it may have orphaned.

    Raises:
        Unfit: The graph cannot say the same.
    """
    name = node.meta["site"][0]
    given = operands(name, node.args, node.kwargs)
    if position >= len(given) or not isinstance(given[position], fx.Node):
        raise Unfit(f"{component} is no operand that is computed")
    operand: Any = given[position]
    others = [
        x for i, x in enumerate(given) if i != position and isinstance(x, fx.Node)
    ]
    in_place = bool(work.values.writes.get(node))
    if in_place and position == 0 and seen_after(work, operand, node):
        raise Unfit("its operand is written in place and read elsewhere")
    drops = (
        name == "add"
        and isinstance(by.operation, Zero)
        and not node.kwargs
        and fits_result(work, others, node)
    )
    if drops:
        kept = others[0]
        if seen_after(work, kept, node) and not (in_place and position == 1):
            with work.graph.inserting_before(node):
                kept = noted(work, work.graph.call_method("clone", (kept,)), kept)
        replace_node(work, node, kept)
        return [operand]
    with work.graph.inserting_before(node):
        new = _new_operand(work, node, name, operand, others, component, by)
        args, kwargs = with_operand(name, node.args, node.kwargs, position, new)
        if in_place and position == 0:
            if name not in _OUT_OF_PLACE:
                raise Unfit("it is written in place")
            fresh = work.graph.call_function(_OUT_OF_PLACE[name], args, kwargs)
            fresh.meta["site"] = node.meta["site"]
            replace_node(work, node, noted(work, fresh, node))
        else:
            node.args, node.kwargs = args, kwargs
    return [operand]


def edit_result(
    work: Rewriting, node: fx.Node, component: Component, by: Edit
) -> list[fx.Node]:
    """Put the operation in a result's place; returns whom it may have orphaned.

    Raises:
        Unfit: The graph cannot say the same.
    """
    given = [x for x in node.all_input_nodes if x in work.values.tensor]
    written = bool(work.values.writes.get(node))
    if written and any(seen_after(work, x, node) for x in given[:1]):
        raise Unfit("it writes into a tensor that is read elsewhere")
    out = work.values.tensor.get(node)
    if out is None:
        raise Unfit("it gives more than one tensor")
    alike = [x for x in given if same_type(work.values.tensor[x], out)]
    like = alike[0] if alike else node
    if isinstance(by.operation, Identity):
        fit = find_fit([work.values.tensor[x] for x in given], out)
        if fit is None or fit.adapter != "yes":
            raise Unfit("no argument fits in place of its result")
        like = given[fit.index]
    with work.graph.inserting_after(node):
        if not isinstance(by.operation, Identity):
            new = _constant(work, like, rule_like(work, like), node, component, by)
        elif seen_after(work, like, node):
            new = work.graph.call_method("clone", (like,))
        else:
            new = like
    noted(work, new, node)
    users = [user for user in node.users if user is not new]
    for user in users:
        user.replace_input_with(node, new)
    return [] if node.users else [node]


def _new_operand(
    work: Rewriting,
    node: fx.Node,
    name: str,
    operand: fx.Node,
    others: list[fx.Node],
    component: Component,
    by: Edit,
) -> fx.Node:
    """What stands in an operand's place; made of another operand where that does."""
    if isinstance(by.operation, Identity):
        return _let_through(work, node, operand, others, component)
    if name in _OUT_OF_PLACE and fits_result(work, others, node):
        rule = rule_like(work, others[0])
        return _constant(work, others[0], rule, operand, component, by)
    beside = _beside(work, node, name, operand, others)
    if beside is not None:
        return _constant(work, others[0], beside, operand, component, by)
    return _constant(work, operand, rule_like(work, operand), operand, component, by)


def _let_through(
    work: Rewriting,
    node: fx.Node,
    operand: fx.Node,
    others: list[fx.Node],
    component: Component,
) -> fx.Node:
    """Identity of a branch: the skip, or what came into the block."""
    wanted = work.values.tensor[operand]
    if node.meta["site"] in work.projected:
        given = [n for n in work.graph.nodes if n.op == "placeholder"]
        known: list[fx.Node] = [n for n in given if n in work.values.tensor]
        if any(work.values.written(n) for n in known):
            raise Unfit("its input is written in place")
    else:
        known = others[:1]
    fit = find_fit([work.values.tensor[n] for n in known], wanted)
    if fit is None:
        raise Unfit("no input of the block fits in its place")
    if fit.adapter == "yes":
        return known[fit.index]
    # Sized as the block's own output is, which is what the operand becomes.
    end = next(n for n in work.graph.nodes if n.op == "output").args[0]
    out = work.values.tensor.get(end) if isinstance(end, fx.Node) else None
    if fit.index or out is None or not same_type(out, wanted):
        raise Unfit("the size of what would stand in its place is not known")
    rule = find_rule(work.block, *work.given, out)
    adapted = Fitted(component.name, (0,), rule, fit.adapter)
    made = work.graph.create_node("call_module", work.add(adapted), (known[0],))
    return noted(work, made, operand)


def _constant(
    work: Rewriting,
    like: fx.Node,
    rule: ShapeRule,
    stands_for: fx.Node,
    component: Component,
    by: Edit,
) -> fx.Node:
    """A node that gives a constant, in a shape that follows that of `like`."""
    operation = by.operation
    out = work.values.tensor[stands_for]
    number: float | None = None
    if isinstance(operation, Zero):
        number = 0.0
    elif isinstance(operation, Constant) and not isinstance(operation.value, Tensor):
        number = operation.value
    plain = (
        rule == rule_like(work, like) and work.values.tensor[like].dtype == out.dtype
    )
    if number is not None and plain:
        make = torch.zeros_like if number == 0 else torch.full_like
        args: tuple[Any, ...] = (like,) if number == 0 else (like, number)
        node = work.graph.call_function(make, args)
        return noted(work, node, like)
    if number is not None:
        new: nn.Module = Filled(component.name, (0,), rule, number)
    else:
        value = held_value(by, out)
        axes = len(rule.axes)
        value = value.reshape((1,) * (axes - value.ndim) + value.shape)
        device = next((p.device for p in work.block.parameters()), None)
        new = Held(component.name, (0,), rule, value).to(device)
    made = work.graph.create_node("call_module", work.add(new), (like,))
    return noted(work, made, stands_for)


def _beside(
    work: Rewriting,
    node: fx.Node,
    name: str,
    operand: fx.Node,
    others: list[fx.Node],
) -> ShapeRule | None:
    """For an operand of a concatenation along channels: sized by its neighbour."""
    known = work.values.tensor
    if name != "cat" or not others or others[0] not in known or operand not in known:
        return None
    mine, beside = known[operand], known[others[0]]
    dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
    if not isinstance(dim, int) or mine.dtype != beside.dtype:
        return None
    dim %= mine.ndim
    # Axis 1 of maps and the last of tokens hold channels, whose number is fixed.
    if dim == 0 or not (dim == mine.ndim - 1 or (mine.ndim == 4 and dim == 1)):
        return None
    axes = [mine.shape[i] if i == dim else Follow(i) for i in range(mine.ndim)]
    return ShapeRule(tuple(beside.shape), tuple(axes), frozenset(range(mine.ndim)))
