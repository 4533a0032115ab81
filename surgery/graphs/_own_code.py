"""Own code: a module's own forward as a graph, every module call in it one node.

The graph is the same at any depth: what happens inside the modules that are called is
theirs, and runs as it is, hooks and all.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from torch import Tensor, fx, nn

from surgery._random import preserved_rng
from surgery.anatomy._structure import tensors
from surgery.anatomy._wrappers import is_scripted
from surgery.errors import BackendError
from surgery.graphs._own_arguments import Untraceable
from surgery.graphs._own_modes import merge_modes
from surgery.graphs._own_tracer import OwnTracer
from surgery.graphs._own_values import PLAIN
from surgery.graphs._twin import twin


@dataclass(frozen=True)
class OwnCode:
    """A module's own forward as a graph.

    Its placeholders are the parameters of the module's `forward`, with their defaults.
    `call_module` and `get_attr` nodes name what they mean by its path in the module.
    Nodes that call a function with a name carry it in `node.meta["site"]`, as
    `(function, index)`, counted as at run time.

    Attributes:
        graph: The graph. It keeps calls whose results nobody uses.
        sites: The nodes by the names of the functions they call, in order of execution.
        baked: What the graph takes for granted about arguments: the values of those
            that are no tensors, by parameter.
        guards: What it takes for granted besides (sizes that the code branches on), in
            words. It holds nodes that raise BackendError where one does not hold.
    """

    graph: fx.Graph
    sites: Mapping[tuple[str, int], fx.Node]
    baked: Mapping[str, object]
    guards: tuple[str, ...] = ()


def trace_own_code(
    module: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    both_modes: bool = True,
) -> OwnCode:
    """Trace `module.forward(*args, **kwargs)` without going into the modules it calls.

    Works on copies: the module, its buffers and caches, its hooks and the random
    generators see nothing of it. The graph is checked: it gives bit for bit what the
    module gives.

    Args:
        module: Any module.
        args: Positional inputs of an example call.
        kwargs: Keyword inputs.
        both_modes: Give a graph that follows `train()` and `eval()` and refuse code
            that takes another path in the other mode; otherwise the graph is that of
            the present mode.

    Raises:
        BackendError: The code cannot become a graph; says why.
    """
    given = dict(kwargs or {})
    for fixed_types in (False, True):  # torch.finfo(x.dtype), say, takes no traced type
        try:
            return _trace(module, tuple(args), given, both_modes, fixed_types)
        except Untraceable as error:
            reason = str(error)
            break
        except Exception as error:  # the module's own code may raise anything
            reason = f"fails on traced values: {type(error).__name__}: {error}"
    raise BackendError(
        f"the code of {type(module).__name__} cannot be traced into a graph: it "
        f"{reason[:300]}; use backend='scoped', which runs the code itself"
    )


def compiled(graph: fx.Graph) -> Callable[..., Any]:
    """The graph as a function of the module and its arguments."""
    code = graph.python_code("self")
    space = dict(code.globals)
    exec(code.src, space)  # what torch.fx does with the source that it generates
    return cast("Callable[..., Any]", space["forward"])


_STARS: Final[Mapping[object, str]] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}


def _trace(
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    both: bool,
    fixed_types: bool,
) -> OwnCode:
    if is_scripted(module):
        raise Untraceable("is TorchScript")
    with ExitStack() as stack:
        stack.enter_context(preserved_rng())
        stack.enter_context(torch.enable_grad())
        tracer, baked = _run(module, args, kwargs, fixed_types, flip=False)
        if both:
            other, _ = _run(module, args, kwargs, fixed_types, flip=True)
            train, evaluated = tracer.graph, other.graph
            if not module.training:
                train, evaluated = evaluated, train
            merge_modes(train, evaluated, into=tracer.graph)
        tracer.graph.lint()
    with preserved_rng():
        _verify(module, tracer.graph, args, kwargs)
    return OwnCode(tracer.graph, tracer.sites, baked, tuple(tracer.guards))


def _run(
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    fixed_types: bool,
    *,
    flip: bool,
) -> tuple[OwnTracer, dict[str, object]]:
    shadow, real = twin(module), twin(module)
    if flip:
        shadow.train(not module.training)  # only the code's own view of it
    tracer = OwnTracer(shadow, real, fixed_types=fixed_types)
    forward = shadow.forward
    signature = inspect.signature(forward)
    args, kwargs = _copied((args, kwargs))
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    baked: dict[str, object] = {}
    traced: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        parameter = signature.parameters[name]
        stars = _STARS.get(parameter.kind, "")
        default: tuple[Any, ...] = (
            () if parameter.default is parameter.empty else (None,)
        )
        if default and isinstance(parameter.default, (*PLAIN, tuple)):
            default = (parameter.default,)
        traced[name] = tracer.placeholder(f"{stars}{name}", value, default)
        if not isinstance(value, Tensor):
            baked[name] = value
    # Handed on as they came: decorators tell keywords from positional arguments.
    positional = signature.bind_partial(*args)
    for name in positional.arguments:
        positional.arguments[name] = traced[name]
    last = inspect.Parameter.VAR_KEYWORD
    rest = next((n for n, p in signature.parameters.items() if p.kind is last), "")
    named = {k: traced[k] if k in traced else traced[rest][k] for k in kwargs}
    with preserved_rng():
        tracer.begin()
        with tracer:
            output = forward(*positional.args, **named)
        tracer.finish(output)
    return tracer, baked


def _verify(
    module: nn.Module, graph: fx.Graph, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Compare the graph with the code, in all they give and change."""
    results: list[list[Tensor]] = []
    types: list[type] = []
    for run in (compiled(graph), None):
        copied = twin(module)
        given, named = _copied((args, kwargs))
        with preserved_rng(), torch.no_grad():
            if run is None:
                output: object = copied.forward(*given, **named)
            else:
                output = run(copied, *given, **named)
        types.append(type(output))
        results.append(tensors((output, given, named, list(copied.buffers()))))
    if types[0] is not types[1] or len(results[0]) != len(results[1]):
        raise Untraceable("returns something else than its graph")
    if not all(map(_equal, *results)):
        raise Untraceable("gives other values than its graph")


def _equal(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    same = (a == b) | ((a != a) & (b != b))
    return bool(same.all())


def _copied(value: Any) -> Any:
    """A copy all the way down: code may change what it is given."""
    memo: dict[int, Any] = {id(x): x.detach().clone() for x in tensors(value)}
    return copy.deepcopy(value, memo)
