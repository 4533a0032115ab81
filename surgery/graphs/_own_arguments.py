"""What stands for a value among the arguments of a graph's nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from surgery.graphs._own_values import CONSTANT, PLAIN
from surgery.graphs._traced import is_traced


class Untraceable(Exception):
    """Why the code at hand cannot become a graph."""


class Arguments:
    """The values that nodes may hold: traced ones, constants, and what modules keep.

    Args:
        graph: The graph that takes the nodes.
        modules: Where tensors and other objects that the code hands on are looked for.
    """

    def __init__(self, graph: fx.Graph, *modules: nn.Module) -> None:
        self._graph = graph
        self._paths: dict[int, str] = {}
        self._attributes: dict[int, fx.Node] = {}
        for module in modules:
            self._find_attributes(module)

    def argument(self, value: Any) -> Any:
        """What stands for a value among a node's arguments."""
        if is_traced(value):
            return value._node
        if isinstance(value, Tensor):
            return self._constant(value)
        if isinstance(value, CONSTANT):
            return value
        if type(value) in (tuple, list, torch.Size):
            kind = list if type(value) is list else tuple
            return kind(self.argument(x) for x in value)
        if type(value) is dict:
            return {key: self.argument(x) for key, x in value.items()}
        if isinstance(value, slice):
            ends = (value.start, value.stop, value.step)
            return slice(*(self.argument(x) for x in ends))
        if isinstance(value, tuple):  # a namedtuple
            items = tuple(self.argument(x) for x in value)
            return self._graph.call_function(type(value), items)
        if isinstance(value, Mapping):  # a Hugging Face ModelOutput
            named = cast("Mapping[str, Any]", value)
            return self._graph.call_function(
                type(value), (), {k: self.argument(x) for k, x in named.items()}
            )
        if id(value) in self._attributes or id(value) in self._paths:
            return self._constant(value)
        raise Untraceable(f"hands on a {type(value).__name__}, which no graph can hold")

    def _constant(self, value: Any) -> fx.Node:
        if id(value) not in self._attributes:
            if id(value) not in self._paths:
                raise Untraceable(
                    "uses a tensor that is neither an input nor an attribute of the "
                    "module"
                )
            with self._graph.inserting_before(self._first()):
                return self.attribute(value, self._paths[id(value)])
        return self._attributes[id(value)]

    def _first(self) -> fx.Node:
        after = (
            n for n in self._graph.nodes if n.op not in ("placeholder", "get_attr")
        )
        return next(after, self._graph._root)

    def _find_attributes(self, real: nn.Module) -> None:
        """Where tensors and other objects that the code may hand on are kept."""
        for path, part in real.named_modules(remove_duplicate=False):
            before = f"{path}." if path else ""
            held = [*part._parameters.items(), *part._buffers.items()]
            held += [(k, v) for k, v in vars(part).items() if not k.startswith("_")]
            for name, value in held:
                if not isinstance(value, PLAIN) and name.isidentifier():
                    self._paths.setdefault(id(value), f"{before}{name}")

    def attribute(self, value: Any, path: str) -> fx.Node:
        if id(value) not in self._attributes:
            self._attributes[id(value)] = self._graph.get_attr(path)
        return self._attributes[id(value)]
