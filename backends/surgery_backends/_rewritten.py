"""Rewritten: a `forward` of an instance's own, from its traced and changed code."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from functools import partial
from types import MethodType
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn

from surgery._random import seeded
from surgery.anatomy import is_scripted, mapped
from surgery.errors import BackendError
from surgery.graphs import OwnCode, compiled, trace_own_code
from surgery_backends import _compiled
from surgery_backends._taps import NO_INPUTS, SiteTap, Wanted, run_cut

_Name = tuple[str, int]
_EDITS = "surgery_edits"
_KEPT = 32
"""Kinds of input whose code is kept, as a number that grows would fill memory."""


def install(module: nn.Module, tap: SiteTap) -> Callable[[], None]:
    """Put an action into a module's code.

    Returns:
        What takes it out again; the last one out leaves the module as it was.
    """
    if is_scripted(module):
        raise BackendError(
            f"{tap.tap.component} is in a TorchScript module, whose code Python cannot "
            "change; operate on the module before torch.jit.script"
        )
    own = module.__dict__.get("forward")
    inner = own.func if isinstance(own, partial) else own  # marked for compiled code
    if isinstance(inner, Rewritten):
        rewritten = inner
    else:
        rewritten = Rewritten(module, own)
        module.__dict__["forward"] = rewritten
    rewritten.taps += (tap,)

    def remove() -> None:
        rewritten.taps = tuple(t for t in rewritten.taps if t is not tap)
        if not rewritten.taps:
            _uninstall(module, rewritten)

    return remove


def _uninstall(module: nn.Module, rewritten: Rewritten) -> None:
    mark = _compiled._MARKED.get(module)
    if mark is not None and mark.shadowed is rewritten:
        mark.shadowed = rewritten.shadowed
    if module.__dict__.get("forward") is rewritten:
        del module.__dict__["forward"]
        if rewritten.shadowed is not None:
            module.__dict__["forward"] = rewritten.shadowed


class Rewritten:
    """Runs a module's code with actions in it.

    A class and not a closure, so that models with it pickle and deep-copy.

    Attributes:
        module: The module.
        shadowed: The `forward` of its own that the instance had.
        taps: The actions, in the order in which they were attached.
    """

    def __init__(self, module: nn.Module, shadowed: Callable[..., Any] | None) -> None:
        self.module = module
        self.shadowed = shadowed
        self.taps: tuple[SiteTap, ...] = ()
        # Compiled callers leave this code to Python; nothing is loaded for it.
        loaded = "torch._dynamo" in sys.modules
        disable: Any = torch.compiler.disable
        self._outside = disable(self._run) if loaded else None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.taps:
            return self._original(*args, **kwargs)
        run = self._run if self._outside is None else self._outside
        return run(args, kwargs)

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._code(args, kwargs).run(self.module, self.taps, args, kwargs)

    @property
    def __signature__(self) -> Any:
        return inspect.signature(self._original)

    @property
    def _original(self) -> Callable[..., Any]:
        if self.shadowed is not None:
            return self.shadowed
        return cast(
            "Callable[..., Any]", MethodType(type(self.module).forward, self.module)
        )

    def _code(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Code:
        codes = _CODES.setdefault(self.module, {})
        attributes = _attributes(self.module)
        plain = attributes, _kind((args, kwargs), shapes=False)
        exact = attributes, _kind((args, kwargs), shapes=True)
        found = codes.get(plain) or codes.get(exact)
        if found is None:
            own = _traced(self.module, args, kwargs)
            found = _Code(own)
            while len(codes) >= _KEPT:
                del codes[next(iter(codes))]
            # Code that branches on sizes is traced for each.
            codes[exact if own.guards else plain] = found
        return found

    def __getstate__(self) -> dict[str, Any]:
        # Generated code does not travel.
        return {**self.__dict__, "_outside": None}


_CODES: WeakKeyDictionary[nn.Module, dict[object, _Code]] = WeakKeyDictionary()
_SEEDS = 15106, 5473
"""Python's and numpy's first draw is below 0.01 with the one, above 0.99 with the other
(what torch draws stays in the graph, and code that branches on it is refused)."""


def _traced(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> OwnCode:
    """The module's own code, unless it takes the one way or the other by chance."""
    found: list[OwnCode] = []
    for seed in _SEEDS:
        with seeded(seed):
            found.append(trace_own_code(module, args, kwargs, both_modes=False))
    if len({own.graph.python_code("self").src for own in found}) > 1:
        raise BackendError(
            f"the code of {type(module).__name__} draws random numbers of Python or "
            "numpy (as layer drop does), which a graph of it would hold for ever; use "
            "backend='scoped', which runs the code itself"
        )
    return found[0]


def _attributes(module: nn.Module) -> object:
    """What code may read of a module and those in it, but for tensors' data."""
    return tuple(
        (
            id(part),
            type(part),
            tuple(
                (name, _state(value, 4))
                for name, value in vars(part).items()
                if name not in _TABLES
            ),
            _kind((part._parameters, part._buffers), shapes=True),
        )
        for part in module.modules()
        if not is_scripted(part)
    )


_OURS = {"forward", _compiled._REPLICATE}
_TABLES = (frozenset(vars(nn.Module())) | _OURS) - {"training"}
"""What torch keeps in every module (hooks, and what is looked at apart), and we do."""


def _state(value: object, depth: int) -> object:
    """What code may read of an attribute, as far as it is no tensor's data."""
    if isinstance(value, Tensor):
        return _kind(value, shapes=True)
    if value is None or isinstance(value, (bool, int, float, str)):
        return type(value), value
    if depth and isinstance(value, (tuple, list)):
        return tuple(_state(x, depth - 1) for x in cast("tuple[object, ...]", value))
    if depth and isinstance(value, dict):
        items = cast("dict[object, object]", value).items()
        return tuple((k, _state(x, depth - 1)) for k, x in items)
    if isinstance(value, (set, frozenset)):
        return frozenset(cast("frozenset[object]", value))
    if depth and not isinstance(value, (nn.Module, type)):
        held = getattr(value, "__dict__", None)
        return id(value), type(value), _state(held, depth - 1)
    return id(value)


class _Code:
    """The code for one kind of input, with a function for each set of sites."""

    def __init__(self, own: OwnCode) -> None:
        self._own = own
        self._called = {site: _function(node) for site, node in own.sites.items()}
        self._functions: dict[frozenset[_Name], Callable[..., Any]] = {}

    def run(
        self,
        module: nn.Module,
        taps: tuple[SiteTap, ...],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        owner = NO_INPUTS
        if any(tap.tap.wants_owner for tap in taps):
            # Copies: the module may change its inputs in place.
            owner = mapped(args, torch.clone), mapped(kwargs, torch.clone)
        wanted: dict[_Name, list[Wanted]] = {}
        for tap in taps:
            if not tap.takes_part():
                continue
            for site in self._sites(tap):
                wanted.setdefault(site, []).append(
                    Wanted(tap.tap, tap.site, tap.projected, owner)
                )
        sites = frozenset(wanted)
        if sites not in self._functions:
            self._functions[sites] = compiled(_with_edits(self._own.graph, sites))
        return self._functions[sites](
            module, _Edits(self._called, wanted), *args, **kwargs
        )

    def _sites(self, tap: SiteTap) -> list[_Name]:
        function, index = tap.site.function, tap.site.index
        if index is None:
            return [site for site in self._own.sites if site[0] == function]
        return [(function, index)] if (function, index) in self._own.sites else []


class _Edits:
    """What the changed code calls in the place of a function."""

    def __init__(
        self,
        functions: Mapping[_Name, Callable[..., Any]],
        wanted: Mapping[_Name, list[Wanted]],
    ) -> None:
        self._functions = functions
        self._wanted = wanted

    def run(self, function: str, index: int, /, *args: Any, **kwargs: Any) -> Any:
        site = function, index
        return run_cut(self._functions[site], (args, kwargs), self._wanted[site])


def _with_edits(graph: fx.Graph, sites: frozenset[_Name]) -> fx.Graph:
    """The graph with the calls at these sites made by a further first argument."""
    changed = fx.Graph()
    edits = changed.placeholder(_EDITS)
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        site = node.meta.get("site")
        if site not in sites:
            copies[node] = changed.node_copy(node, lambda n: copies[n])
            continue
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: copies[n])
        copies[node] = changed.call_method("run", (edits, *site, *args), dict(kwargs))
    return changed


def _function(node: fx.Node) -> Callable[..., Any]:
    """What a node calls; of Python's operators those of tensors, which have names."""
    target: Any = node.target
    if isinstance(target, str):
        return cast("Callable[..., Any]", getattr(Tensor, target))
    name = f"__{getattr(target, '__name__', '')}__"
    if getattr(target, "__module__", "") == "_operator" and name.startswith("__i"):
        return cast("Callable[..., Any]", getattr(Tensor, name, target))
    return cast("Callable[..., Any]", target)


def _kind(value: Any, *, shapes: bool) -> object:
    """What the code may see of its arguments but for the data in them."""
    if isinstance(value, Tensor):
        shape = tuple(value.shape) if shapes else value.ndim
        return Tensor, shape, value.dtype, value.device.type
    if isinstance(value, (tuple, list)):
        return type(value), tuple(_kind(x, shapes=shapes) for x in value)
    if isinstance(value, dict):
        return dict, tuple((k, _kind(x, shapes=shapes)) for k, x in value.items())
    if value is None or isinstance(value, (bool, int, float, str)):
        return type(value), value
    return type(value)
