"""Tracing a module's own code into a graph in which every module call is a leaf."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, cast

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from surgery.anatomy._functions import (
    JOINS,
    function_name,
    is_in_place,
    is_join,
    operands,
)
from surgery.anatomy._structure import tensors
from surgery.errors import BackendError
from surgery.graphs._own_arguments import Arguments, Untraceable
from surgery.graphs._own_values import (
    CONSTANT,
    PLAIN,
    any_traced,
    called,
    nodes_of,
    plain_attributes,
    rebuilt,
    spelled,
    values,
)
from surgery.graphs._traced import as_traced, is_traced

_OF_AUTOGRAD = ("requires_grad", "grad", "grad_fn", "is_leaf", "_version")
_SWITCHES = (
    "switches gradients, autocast or inference mode, or is a custom "
    "torch.autograd.Function"
)


def require(holds: bool, what: str) -> None:
    """Stand in a graph for what the traced code relied on.

    Raises:
        BackendError: It does not hold for the present input.
    """
    if not holds:
        raise BackendError(
            f"the code was traced into a graph for inputs where {what}, which does not "
            "hold for this one; use backend='scoped', which runs the code itself"
        )


class OwnTracer(TorchFunctionMode):
    """Notes every function that the code calls, with its value in this run.

    Args:
        shadow: The copy whose code runs on traced values.
        real: The copy whose modules compute the values.
        fixed_types: Give types of tensors as they are, and require that they stay so.
    """

    def __init__(
        self, shadow: nn.Module, real: nn.Module, *, fixed_types: bool = False
    ) -> None:
        super().__init__()
        self.graph = fx.Graph()
        self.guards: list[str] = []
        self.sites: dict[tuple[str, int], fx.Node] = {}
        self._real = real
        self._fixed_types = fixed_types
        self._paused = 0
        self._hidden = 0
        self._counts: dict[str, int] = {}
        self._fresh: list[tuple[fx.Node, str, list[fx.Node]]] = []
        self._state = _state()
        self._arguments = Arguments(self.graph, real, shadow)
        self._shadow = shadow
        self._plain: list[tuple[str, str, object]] = []

    def placeholder(self, name: str, value: Any, default: tuple[Any, ...]) -> Any:
        """A parameter of the function that the graph becomes."""
        node = self.graph.create_node("placeholder", name, default)
        return self._entering(node, value)

    def begin(self) -> None:
        """All parameters are known: from here on the shadow's code is traced."""
        for path, part in self._shadow.named_modules():
            mine = self._real.get_submodule(path)
            before = f"{path}." if path else ""
            for held, kept in (
                (mine._parameters, part._parameters),
                (mine._buffers, part._buffers),
                (vars(mine), vars(part)),
            ):
                for name, value in cast("dict[str, Any]", held).items():
                    if isinstance(value, Tensor):
                        node = self._arguments.attribute(value, f"{before}{name}")
                        traced = as_traced(self, node, value)
                        cast("dict[str, Any]", kept)[name] = traced
            if path:
                part.__dict__["forward"] = _Leaf(self, path)
        self._plain = plain_attributes(self._shadow)

    def finish(self, output: Any) -> None:
        """The code has returned."""
        self.graph.output(self._arguments.argument(output))
        for node in list(self.graph.nodes):
            if node.op == "get_attr" and not node.users:
                self.graph.erase_node(node)
        if plain_attributes(self._shadow) != self._plain:
            self.refuse("changes attributes of modules, which a graph would not")

    def function(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self._record("call_function", func, func, args, kwargs)

    def method(self, name: str, *args: Any, **kwargs: Any) -> Any:
        def call(x: Any, *rest: Any, **named: Any) -> Any:
            return getattr(x, name)(*rest, **named)

        return self._record("call_method", name, call, args, kwargs)

    def module(self, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        part = self._real.get_submodule(path)
        return self._record("call_module", path, part, args, kwargs)

    def required(self, ask: Callable[[Any], Any] | None, traced: Any) -> Any:
        """What Python asks of a value, which the graph then requires to be the same."""
        value, node = traced._value, traced._node
        if ask is not len and tensors(value):
            self.refuse("branches on the data in a tensor")
        answer: Any = value if ask is None else ask(value)
        made: list[fx.Node] = []
        if ask is not None and ask not in (int, operator.index):
            node = self.graph.call_function(ask, (node,))
            made.append(node)
        if not isinstance(answer, (*PLAIN, tuple, torch.dtype, torch.device)):
            self.refuse(f"relies on a {type(answer).__name__}")
        given: Any = answer
        same = self.graph.call_function(operator.eq, (node, given))
        what = f"{spelled(traced._node)} is {answer!r}"
        if ask is len:
            what = f"len({spelled(traced._node)}) is {answer!r}"
        guard = self.graph.call_function(require, (same, what))
        self._fresh.append((traced._node, what, [guard, same, *reversed(made)]))
        self.guards.append(what)
        return answer

    def refuse(self, why: str) -> NoReturn:
        raise Untraceable(why)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        attribute: Any = getattr(func, "__self__", None)
        if self._paused:
            # Ours, around what runs for its value; it is a torch function too.
            ours = func is torch._C._set_grad_enabled
            self._hidden += not ours and function_name(func) is not None
            return func(*args, **given)
        if func is torch._C._set_grad_enabled:
            self.refuse(_SWITCHES)
        name = getattr(func, "__name__", "")
        if name == "__get__":
            return self._property(attribute.__name__, args[0])
        if name in ("__set__", "__delete__"):
            self.refuse(f"sets an attribute ({attribute.__name__}) of a tensor")
        if isinstance(func, type):
            return func(*values(args), **values(given))  # torch.device(...)
        if getattr(torch.Tensor, name, None) is func:
            return self._record("call_method", name, func, args, given)
        return self._record("call_function", func, func, args, given)

    def _property(self, name: str, x: Any) -> Any:
        if not is_traced(x):
            return getattr(x, name)
        if name in _OF_AUTOGRAD:
            self.refuse(f"asks for {name} of a tensor")
        found = self.function(getattr, x, name)
        fixed = self._fixed_types and name == "dtype"
        return self.required(None, found) if fixed else found

    def _record(
        self,
        op: str,
        target: Any,
        call: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        inside = _state()
        if inside != self._state:
            self.refuse(_SWITCHES)
        given, named = values(args), values(kwargs)
        self._paused += 1
        self._hidden = 0
        try:
            with torch.no_grad():
                value = call(*given, **named)
        finally:
            self._paused -= 1
        of = given[0] if given and op != "call_module" else None
        own = (Tensor, *CONSTANT, tuple, list, dict)
        if self._hidden and not isinstance(of, own):
            self.refuse(f"computes with tensors inside of a {type(of).__name__}")
        traced = any_traced((args, kwargs))
        if op != "call_module" and not traced and not tensors(value):
            return value
        self._drop_guards_of(args, kwargs, every=target is torch._assert)
        node_args = cast("tuple[Any, ...]", self._arguments.argument(args))
        node_kwargs = self._arguments.argument(kwargs)
        node = self.graph.create_node(op, target, node_args, node_kwargs)
        if node.name == "self":  # a child's name; torch.fx means the module by it
            node._rename("own_self")
        if op != "call_module":
            self._name(node, target, given, named, value)
        if isinstance(value, PLAIN[:1]) or value is NotImplemented:
            return value
        return as_traced(self, node, value)

    def _name(
        self,
        node: fx.Node,
        target: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        value: Any,
    ) -> None:
        """Names the node as the call is named at run time."""
        function = called(target, args)
        name = function and function_name(function)
        if not name:
            return
        given = operands(name, args, kwargs)
        if (name in JOINS and not is_join(given)) or not tensors(value):
            return
        index = self._counts.get(name, 0)
        self._counts[name] = index + 1
        node.meta["site"] = name, index
        node.meta["in_place"] = is_in_place(function) or any(value is x for x in given)
        node.meta["operands"] = len(given)
        self.sites[name, index] = node

    def _entering(self, node: fx.Node, value: Any) -> Any:
        if isinstance(value, Tensor):
            return as_traced(self, node, value)
        if type(value) in (tuple, list, dict):
            items = value.items() if type(value) is dict else enumerate(value)
            made = {
                key: item
                if isinstance(item, CONSTANT)
                else self._entering(
                    self.graph.call_function(operator.getitem, (node, key)), item
                )
                for key, item in items
            }
            return made if type(value) is dict else rebuilt(value, made.values())
        # What else there is (a cache of keys and values) is followed too.
        return value if isinstance(value, CONSTANT) else as_traced(self, node, value)

    def _drop_guards_of(self, args: Any, kwargs: Any, *, every: bool) -> None:
        """Argument parsers of torch ask sizes for their values; nothing hangs on it.

        Nor does anything on what the message of an assertion is made of.
        """
        nodes = set(nodes_of((args, kwargs)))
        for subject, what, made in self._fresh:
            if subject in nodes or every:
                for node in made:
                    self.graph.erase_node(node)
                self.guards.remove(what)
        self._fresh.clear()


class _Leaf:
    """A module's forward while its parent's code is traced."""

    def __init__(self, tracer: OwnTracer, path: str) -> None:
        self._tracer = tracer
        self._path = path

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._tracer.module(self._path, args, kwargs)


def _state() -> tuple[bool, ...]:
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.is_autocast_enabled("cuda"),
    )
