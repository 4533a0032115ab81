"""Train and eval: one graph for both, where they differ only in constants."""

from __future__ import annotations

import operator
from typing import Any, cast

from torch import fx

from surgery.graphs._own_arguments import Untraceable
from surgery.graphs._own_values import PLAIN


def merge_modes(train: fx.Graph, evaluated: fx.Graph, into: fx.Graph) -> None:
    """Make a graph follow the module's mode.

    Where a constant differs (`training=`, the rate of a dropout), the graph reads the
    module's `training` and chooses.

    Args:
        train: The graph in train mode.
        evaluated: The graph in eval mode.
        into: The one of the two that is changed.

    Raises:
        Untraceable: The two differ in more than constants.
    """
    pairs = list(zip(train.nodes, evaluated.nodes, strict=False))
    alike = len(train.nodes) == len(evaluated.nodes)
    for a, b in pairs:
        if not alike or a.op != b.op or a.target != b.target:
            here = a if a.op != "output" else b
            raise Untraceable(
                "takes another path in train mode than in eval mode (from "
                f"{here.target} on)"
            )
    chooser = _Chooser({a: b for a, b in pairs}, into)
    for (a, b), node in zip(pairs, list(into.nodes), strict=True):
        chooser.at = node
        node.args = chooser.both(a.args, b.args)
        node.kwargs = chooser.both(a.kwargs, b.kwargs)


class _Chooser:
    def __init__(self, pairs: dict[fx.Node, fx.Node], into: fx.Graph) -> None:
        self.at: fx.Node | None = None
        self._pairs = pairs
        self._into = into
        self._training: fx.Node | None = None

    def both(self, train: Any, evaluated: Any) -> Any:
        if isinstance(train, fx.Node):
            if self._pairs.get(train) is not evaluated:
                raise Untraceable("computes with other values in train mode")
            return train if train.graph is self._into else evaluated
        if isinstance(train, tuple | list):
            pairs = self._zipped(list(train), evaluated)
            return type(train)(self.both(a, b) for a, b in pairs)
        if isinstance(train, dict):
            held = cast("dict[str, Any]", train)
            pairs = self._zipped(list(held), list(evaluated))
            return {a: self.both(held[a], evaluated[b]) for a, b in pairs}
        if isinstance(train, slice):
            ends = [(getattr(train, k), getattr(evaluated, k)) for k in _ENDS]
            return slice(*(self.both(a, b) for a, b in ends))
        if type(train) is type(evaluated) and train == evaluated:
            return train
        if not isinstance(train, PLAIN) or not isinstance(evaluated, PLAIN):
            raise Untraceable("uses other constants in train mode")
        return self._choose(train, evaluated)

    def _zipped(self, a: list[Any], b: Any) -> list[tuple[Any, Any]]:
        if not isinstance(b, tuple | list | dict) or len(a) != len(b):
            raise Untraceable("passes other arguments in train mode")
        return list(zip(a, b, strict=True))

    def _choose(self, train: Any, evaluated: Any) -> fx.Node:
        if self._training is None:
            first = next(n for n in self._into.nodes if n.op != "placeholder")
            with self._into.inserting_before(first):
                self._training = self._into.get_attr("training")
        if train is True and evaluated is False:
            return self._training
        assert self.at is not None
        with self._into.inserting_before(self.at):
            return self._into.call_function(
                operator.getitem, ((evaluated, train), self._training)
            )


_ENDS = ("start", "stop", "step")
