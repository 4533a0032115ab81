"""Graphs of whole models, by `torch.export` and by torch.fx's symbolic trace."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram, ShapesCollection, export
from torch.fx.passes.shape_prop import ShapeProp
from torch.utils._pytree import tree_leaves, tree_map_only

from surgery._random import preserved_rng
from surgery.anatomy._recorder import preserved_buffers
from surgery.anatomy._structure import tensors
from surgery.anatomy._wrappers import unwrap
from surgery.errors import BackendError
from surgery.graphs._twin import twin


def export_graph(
    model: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
) -> ExportedProgram:
    """The model's graph by `torch.export`, for any batch size where that is possible.

    Made from a copy, in the model's present mode and for the control flow that these
    inputs take. Forward hooks of others are part of the model; operations in effect
    are not. Where no graph for any batch size can be made, or it gives other values
    than the model, it is for this one: then `range_constraints` of it is empty.

    Args:
        model: Any module.
        args: Positional inputs.
        kwargs: Keyword inputs.

    Raises:
        BackendError: The model cannot be exported, or its graph gives something else;
            says why.
    """
    inner = unwrap(model)
    return export_copy(inner, lambda: twin(inner, hooked=True), args, kwargs)


def export_copy(
    model: nn.Module,
    copied: Callable[[], nn.Module],
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
) -> ExportedProgram:
    """The graph of a copy that should give what the model gives; see `export_graph`.

    Args:
        model: What the graph is compared with.
        copied: Makes the copy, each time anew.
        args: Positional inputs.
        kwargs: Keyword inputs.

    Raises:
        BackendError: As for `export_graph`.
    """
    given, named = tuple(args), dict(kwargs or {})
    failed: BackendError | None = None
    for dynamic in (True, False):
        try:
            with _quietly():
                # Copies: torch.export leaves marks on the tensors it is handed, by
                # which a second export asks for any batch size again.
                sample: Any = _copied((given, named))
                shapes = _any_batch(sample) if dynamic else None
                made = export(
                    copied(),
                    *sample,
                    dynamic_shapes=shapes,
                    strict=False,
                )
                same = _reproduces(made, model, given, named)
        except Exception as error:  # of the exporter, or of the model's own code
            failed = BackendError(
                f"{type(model).__name__} cannot be exported into a graph: "
                f"{type(error).__name__}: {_first_line(error)}; use "
                "backend='scoped', which needs no graph"
            )
            failed.__cause__ = error
            continue
        if same:
            return made
        failed = BackendError(
            f"the graph that torch.export makes of {type(model).__name__} gives other "
            "values than the model; use backend='scoped', which needs no graph"
        )
    assert failed is not None  # one of them returned or failed
    raise failed


def symbolic_graph(
    model: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
) -> fx.GraphModule:
    """The model's graph by torch.fx's symbolic trace, on a copy.

    What timm and torchvision mark as untraceable stays one node. Arguments that the
    example leaves out are bound to their defaults. In-place operators become ordinary
    ones, as torch.fx has none.

    Args:
        model: Any module.
        args: Positional inputs.
        kwargs: Keyword inputs.

    Raises:
        BackendError: The model cannot be traced, or its graph gives something else.
    """
    inner = unwrap(model)
    given, named = tuple(args), dict(kwargs or {})
    try:
        with _quietly():
            copied = twin(inner, hooked=True)
            tracer = _Tracer()
            graph = tracer.trace(copied, _left_out(inner, given, named))
            made = fx.GraphModule(tracer.root, graph)
            fed = _fed(graph, inner, given, named)
            ShapeProp(made).propagate(*fed)  # which values are tensors
            same = _alike(made(*fed), twin(inner, hooked=True)(*given, **named))
    except Exception as error:  # of the tracer, or of the model's own code
        raise BackendError(
            f"{type(inner).__name__} cannot be traced by torch.fx: "
            f"{type(error).__name__}: {_first_line(error)}; use export_graph, or "
            "backend='scoped', which needs no graph"
        ) from error
    if not same:
        raise BackendError(
            f"the graph that torch.fx makes of {type(inner).__name__} gives other "
            "values than the model; use export_graph"
        )
    return made


class _Tracer(fx.Tracer):
    """torch.fx's tracer, with what timm and torchvision say it cannot trace."""

    def __init__(self) -> None:
        functions: list[Callable[..., Any]] = []
        modules: list[type[nn.Module]] = []
        # A model of theirs has loaded them; nothing is loaded for others.
        if "timm.layers" in sys.modules:
            layers: Any = sys.modules["timm.layers"]
            functions += [f for f in layers.get_notrace_functions() if callable(f)]
            modules += layers.get_notrace_modules()
        super().__init__(autowrap_functions=tuple(functions))
        self._leaves = tuple(modules)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, self._leaves):
            return True
        return super().is_leaf_module(m, module_qualified_name)


def _left_out(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    signature = inspect.signature(model.forward)
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return {
        name: value
        for name, value in bound.arguments.items()
        if not tensors(value)
        and signature.parameters[name].kind
        in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    }


def _fed(
    graph: fx.Graph, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[Any]:
    """The values of the graph's placeholders, in their order."""
    bound = inspect.signature(model.forward).bind(*args, **kwargs)
    bound.apply_defaults()
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    if len(placeholders) != len(bound.arguments):
        raise TypeError("inputs are nested, which torch.fx takes apart")
    return list(bound.arguments.values())


def _any_batch(inputs: object) -> ShapesCollection | None:
    """Axis 0 of everything that has as many samples as the first tensor."""
    found = [x for x in tensors(inputs) if x.ndim]
    if not found or found[0].shape[0] < 2:  # a size of 1 is always taken as fixed
        return None
    shapes = ShapesCollection()
    for x in found:
        if x.shape[0] == found[0].shape[0]:
            shapes[x] = {0: Dim.DYNAMIC}
    return shapes


def _reproduces(
    made: ExportedProgram,
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> bool:
    """Whether an exported graph gives what the model gives, with the same draws."""
    outputs: list[list[Any]] = []
    graph = made.module()
    for run in (graph, twin(model, hooked=True)):
        given, named = _copied((args, kwargs))
        with preserved_rng(), preserved_buffers(graph):
            outputs.append(tree_leaves(run(*given, **named)))
    return _alike(*outputs)


def _copied(inputs: tuple[Any, ...]) -> Any:
    return tree_map_only(Tensor, torch.clone, inputs)


def _alike(a: object, b: object) -> bool:
    pairs = list(zip(tensors(a), tensors(b), strict=False))
    return len(tensors(a)) == len(tensors(b)) and all(
        x.shape == y.shape and torch.allclose(x, y, 1e-4, 1e-4, equal_nan=True)
        for x, y in pairs
    )


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [""])[0][:300]


@contextmanager
def _quietly() -> Generator[None]:
    """As the model was: no draws, no gradients; the exporter's warnings are its own."""
    with preserved_rng(), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
