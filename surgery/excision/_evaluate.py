"""A block's graph run once, node by node: shapes, and who shares memory with whom."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from surgery.anatomy import mapped, tensors
from surgery.excision._example import is_opaque, undisturbed


@dataclass
class Values:
    """What the nodes of a graph were in one run.

    Attributes:
        tensor: Those that gave one tensor, without its values.
        memory: The storages that the tensors of a node lie in.
        writes: The storages that a node wrote into.
        opaque: Those that were given an object that they may fill, such as a cache.
    """

    tensor: dict[fx.Node, Tensor] = field(default_factory=dict[fx.Node, Tensor])
    memory: dict[fx.Node, set[int]] = field(default_factory=dict[fx.Node, set[int]])
    writes: dict[fx.Node, set[int]] = field(default_factory=dict[fx.Node, set[int]])
    opaque: set[fx.Node] = field(default_factory=set[fx.Node])

    def sharing(self, node: fx.Node) -> list[fx.Node]:
        """The nodes whose tensors share memory with those of `node`."""
        mine = self.memory.get(node, set())
        return [other for other, memory in self.memory.items() if memory & mine]

    def written(self, node: fx.Node) -> bool:
        """Whether anything writes into the memory of `node`."""
        mine = self.memory.get(node, set())
        return any(written & mine for written in self.writes.values())


def evaluate(
    graph: fx.Graph, block: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Values:
    """Run the graph of a block's own code; the block is as before afterwards."""
    bound = inspect.signature(block.forward).bind(
        *mapped(tuple(args), torch.clone), **mapped(dict(kwargs), torch.clone)
    )
    bound.apply_defaults()
    values = Values()
    env: dict[fx.Node, Any] = {}  # keeps every tensor, so that no memory is used twice
    held: list[Tensor] = []
    with undisturbed(block):
        for node in graph.nodes:
            before = [x._version for x in held]
            env[node] = _run(node, block, env, bound.arguments)
            bumped = [
                x for x, old in zip(held, before, strict=True) if x._version != old
            ]
            if bumped:
                values.writes[node] = {_storage(x) for x in bumped}
            if any(is_opaque(env[given]) for given in node.all_input_nodes):
                values.opaque.add(node)
            mine = tensors(env[node])
            held += mine
            values.memory[node] = {_storage(x) for x in mine}
            if isinstance(env[node], Tensor):
                x = env[node]
                values.tensor[node] = torch.empty(x.shape, dtype=x.dtype, device="meta")
    return values


def _run(
    node: fx.Node, block: nn.Module, env: dict[fx.Node, Any], given: dict[str, Any]
) -> Any:
    target: Any = node.target
    if node.op == "placeholder":
        return given[target.lstrip("*")]
    if node.op == "get_attr":
        return attribute(block, target)
    args: Any = map_arg(node.args, env.__getitem__)
    kwargs: Any = map_arg(node.kwargs, env.__getitem__)
    if node.op == "output":
        return args[0]
    if node.op == "call_method":
        return getattr(args[0], target)(*args[1:], **kwargs)
    if node.op == "call_module":
        target = block.get_submodule(target)
    return target(*args, **kwargs)


def attribute(block: nn.Module, path: str) -> Any:
    """What is at a dotted path inside a block."""
    value: Any = block
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _storage(x: Tensor) -> int:
    return x.untyped_storage().data_ptr() if x.device.type != "meta" else id(x)
