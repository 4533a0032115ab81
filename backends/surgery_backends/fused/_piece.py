"""A piece: a stretch of a model's graph as one function, compiled or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

ATEN: Any = torch.ops.aten

Function = Callable[..., list[Tensor]]
Compile = Callable[[nn.Module], Function]


@dataclass(frozen=True)
class Stretch:
    """Nodes of a graph that are computed together.

    Attributes:
        body: The nodes, in order.
        takes: What they need of other nodes' values.
        numbers: The sizes that they need.
        weights: The tensors of the model that they need.
        varied: Those of the weights that some variant changes.
        gives: Those of the nodes that others need.
    """

    body: Sequence[fx.Node]
    takes: Sequence[fx.Node]
    numbers: Sequence[fx.Node]
    weights: Mapping[fx.Node, Any]
    varied: Sequence[fx.Node]
    gives: Sequence[fx.Node]

    def module(self, numbers: Sequence[Any], *, free: bool) -> fx.GraphModule:
        """The nodes as a module of torch.fx.

        Args:
            numbers: What the sizes are.
            free: Whether it takes the varied weights too, or holds them.
        """
        root, graph = nn.Module(), fx.Graph()
        new: dict[fx.Node, Any] = dict(zip(self.numbers, numbers, strict=True))
        for node in (*self.takes, *(self.varied if free else ())):
            new[node] = graph.placeholder(node.name)
        for node, value in self.weights.items():
            if node not in new:
                _hold(root, node.name, value)
                new[node] = graph.get_attr(node.name)
        for node in self.body:
            new[node] = graph.node_copy(node, new.__getitem__)
            if node.target is ATEN.view.default:  # a stack may be laid out otherwise
                new[node].target = ATEN.reshape.default
        graph.output([new[node] for node in self.gives])
        return fx.GraphModule(root, graph, "Piece")


class Piece:
    """A stretch as a function, of what it takes and of sizes.

    Attributes:
        stretch: What it computes.
        compile: Compiles modules for inputs not seen before; without it, such inputs
            are computed by the module as it is.
        failed: Why it could not be compiled, if it could not.
    """

    def __init__(self, stretch: Stretch) -> None:
        self.__name__ = f"piece_{stretch.body[0].name}"
        self.stretch = stretch
        self.compile: Compile | None = None
        self.failed = ""
        self.compiled: dict[Any, Function] = {}
        self._plain: dict[tuple[Any, ...], Function] = {}
        self._own = [stretch.weights[node] for node in stretch.varied]

    def __call__(self, given: Sequence[Tensor], numbers: Sequence[Any]) -> list[Tensor]:
        """What the stretch gives.

        Args:
            given: What it takes, then the varied weights.
            numbers: The sizes.
        """
        count = len(self.stretch.takes)
        taken = given[:count]
        own = all(x is y for x, y in zip(given[count:], self._own, strict=True))
        if own and not self.failed:
            kind = tuple(numbers), tuple((x.shape, x.stride(), x.dtype) for x in taken)
            found = self.compiled.get(kind)
            if found is not None:
                return found(*taken)
            if self.compile is not None:
                return self._compile(kind, taken, numbers, self.compile)
        return self._run_plainly(given, numbers)

    def _compile(
        self, kind: Any, taken: Sequence[Tensor], numbers: Sequence[Any], make: Compile
    ) -> list[Tensor]:
        module = self.stretch.module(numbers, free=False)
        try:
            function = make(module)
            found = function(*taken)
        except Exception as error:  # a compiler may raise anything
            self.failed = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            return self._run_plainly([*taken, *self._own], numbers)
        self.compiled[kind] = function
        return found

    def _run_plainly(
        self, given: Sequence[Tensor], numbers: Sequence[Any]
    ) -> list[Tensor]:
        kind = tuple(numbers)
        if kind not in self._plain:
            self._plain[kind] = self.stretch.module(numbers, free=True)
        return self._plain[kind](*given)


def _hold(root: nn.Module, name: str, value: Any) -> None:
    if isinstance(value, nn.Parameter):
        root.register_parameter(name, value)
    elif isinstance(value, Tensor):
        root.register_buffer(name, value)
    else:
        setattr(root, name, value)
