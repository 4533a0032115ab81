"""Names on graphs: which node of a whole model's graph is which site of its code.

Graphs of `torch.export` and `torch.fx` keep on each node the stack of modules that ran
it, with a repeat index in the stack's keys (`...@3`): with the functions counted in
each call, as at run time, nodes get the names that a recorded forward gives.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, fx, nn

from surgery.anatomy._functions import JOINS, LISTS, function_name
from surgery.anatomy._record import Record

NAMED: Final = JOINS | LISTS
"""Functions whose names are compared: what joins tensors."""


@dataclass(frozen=True)
class Agreement:
    """How the joins of a graph compare with those of a recorded forward.

    Each is named `owner:add#0`, and `owner:add#0 (14 calls)` where it ran that often.

    Attributes:
        same: Named in both, and run as often in both.
        only_record: Named, or run so often, in the recorded forward only.
        only_graph: Likewise in the graph only.
    """

    same: tuple[str, ...]
    only_record: tuple[str, ...]
    only_graph: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing differs."""
        return not self.only_record and not self.only_graph

    def __str__(self) -> str:
        if self.complete:
            return f"all {len(self.same)} joins have the same names"
        parts = [f"{len(self.same)} joins have the same names"]
        for where, names in (
            ("recorded forward", self.only_record),
            ("graph", self.only_graph),
        ):
            if names:
                more = ", ..." if len(names) > 5 else ""
                shown = ", ".join(names[:5]) + more
                parts.append(f"{len(names)} only in the {where}: {shown}")
        return "; ".join(parts)


def name_nodes(graph: fx.Graph, model: nn.Module) -> dict[str, fx.Node]:
    """The nodes of a whole model's graph by the names of their sites.

    Args:
        graph: Of `torch.export` (before or after decompositions), or of a symbolic
            trace by `symbolic_graph`.
        model: The model that it was made from, whose paths the names use.

    Returns:
        `owner:function#k`, or `owner@n:function#k` for the n-th call of an owner
        that the graph calls several times. Exact for `add`, `mul`, `cat` and `stack`;
        other functions have the names that run time gives them only where both count
        the same calls, as a graph may hold a function in several nodes.
    """
    paths = _Paths(model)
    counts: Counter[tuple[str, int, str]] = Counter()
    found: list[tuple[str, int, str, int, fx.Node]] = []
    for node in graph.nodes:
        if node.op not in ("call_function", "call_method"):
            continue
        owner, call = paths.owner(node)
        name = _name(node)
        if name is None:
            continue
        index = counts[owner, call, name]
        counts[owner, call, name] += 1
        found.append((owner, call, name, index, node))
    named: dict[str, fx.Node] = {}
    for owner, call, name, index, node in found:
        at = f"@{call}" if paths.calls[owner] > 1 else ""
        named[f"{owner}{at}:{name}#{index}"] = node
    return named


def agreement(record: Record, named: Mapping[str, fx.Node]) -> Agreement:
    """Compare the joins of a recorded forward with those that a graph has by name."""
    recorded: dict[str, int] = {}
    for part in record.parts:
        for site in () if part.place is None else part.place.sites:
            if site.function in NAMED and site.index is not None:
                text = f"{site.path}:{site.function}#{site.index}"
                calls = 1 if part.facts is None else part.facts.calls
                recorded[text] = max(calls, recorded.get(text, 0))
    graphed: Counter[str] = Counter()
    for text in named:
        path, _, function = text.rpartition(":")
        if function.partition("#")[0] in NAMED:
            owner, at, call = path.rpartition("@")
            graphed[f"{owner if at and call.isdecimal() else path}:{function}"] += 1
    same = [t for t, n in recorded.items() if graphed.get(t) == n]
    kept = set(same)
    return Agreement(
        same=tuple(same),
        only_record=_spelled(recorded, kept),
        only_graph=_spelled(graphed, kept),
    )


def _spelled(counts: Mapping[str, int], without: set[str]) -> tuple[str, ...]:
    return tuple(
        text if calls == 1 else f"{text} ({calls} calls)"
        for text, calls in counts.items()
        if text not in without
    )


class _Paths:
    """Which module, and which call of it, ran a node."""

    def __init__(self, model: nn.Module) -> None:
        first: dict[int, str] = {}
        self._canonical: dict[str, str] = {}
        aliases: Counter[str] = Counter()
        for path, module in model.named_modules(remove_duplicate=False):
            first.setdefault(id(module), path)
            self._canonical[path] = first[id(module)]
            aliases[first[id(module)]] += 1
        self._shared = {path for path, count in aliases.items() if count > 1}
        self._numbers: dict[str, dict[tuple[str, ...], int]] = defaultdict(dict)
        self.calls: Counter[str] = Counter()

    def owner(self, node: fx.Node) -> tuple[str, int]:
        stack: Mapping[str, tuple[str, Any]] = node.meta.get("nn_module_stack") or {}
        keys, paths = tuple(stack), [path for path, _ in stack.values()]
        innermost = paths[-1] if paths else ""
        if innermost not in self._canonical:  # what export says of its own wrappers
            innermost = innermost.rpartition("L['self'].")[2]
        owner = self._canonical.get(innermost, innermost)
        text = keys[-1].rpartition("@")[2] if keys and "@" in keys[-1] else ""
        if owner in self._shared or not text.isdecimal():
            text = ""
        numbers = self._numbers[owner]
        if text:
            call = int(text)
        elif owner in self._shared:  # each alias counts its own calls
            call = numbers.setdefault(keys, len(numbers))
        else:
            call = 0
        self.calls[owner] = max(self.calls[owner], call + 1)
        return owner, call


def _name(node: fx.Node) -> str | None:
    """The canonical name of the function that a node calls, if it counts."""
    target: Any = node.target
    if isinstance(target, torch._ops.OpOverload):
        bare = target._schema.name.rpartition("::")[2]
        target = _named(bare)
    elif isinstance(target, str):
        target = getattr(Tensor, target, None)
    elif getattr(target, "__module__", "") == "_operator":
        target = getattr(Tensor, f"__{target.__name__.strip('_')}__", None)
    name = None if target is None else function_name(target)
    if name in JOINS:
        return name if sum(_is_tensor(x) for x in _two(node)) == 2 else None
    return name


def _two(node: fx.Node) -> list[Any]:
    named = [node.kwargs[k] for k in ("input", "other") if k in node.kwargs]
    return [*node.args, *named][:2]


def _is_tensor(argument: Any) -> bool:
    if not isinstance(argument, fx.Node):
        return False
    if "val" in argument.meta:
        return isinstance(argument.meta["val"], Tensor)
    if "type" in argument.meta:  # noted by torch.fx's interpreters
        kind: Any = argument.meta["type"]
        return isinstance(kind, type) and issubclass(kind, Tensor)
    return True


def _named(bare: str) -> Callable[..., Any]:
    def function() -> None:
        raise AssertionError("only its name is asked for")

    function.__name__ = bare
    return function
