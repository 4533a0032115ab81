"""The graph of a model with marks where variants act, ready to be fused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.utils._pytree import TreeSpec

from surgery.backend import get_backend
from surgery.errors import BackendError
from surgery.graphs import export_copy, twin
from surgery.ops import Clock
from surgery_backends._trial import Trial
from surgery_backends.fused._marks import Mark, Marker


@dataclass(frozen=True)
class MarkedGraph:
    """A model's graph, functional, with marks.

    Attributes:
        nodes: What is computed, in order: calls of functions, nothing else.
        fields: The placeholders of user inputs, in the order of their leaves.
        held: The model's tensors by placeholder, as paths.
        constants: Tensors of the code itself, by placeholder.
        outputs: What comes out, leaf by leaf: nodes or constants.
        marks: By the numbers that nodes of `surgery.mark` carry.
        in_spec: How inputs `(args, kwargs)` are nested.
        out_spec: How outputs are nested.
        any_batch: Whether it holds for any batch size.
    """

    nodes: Sequence[fx.Node]
    fields: Sequence[fx.Node]
    held: Mapping[fx.Node, str]
    constants: Mapping[fx.Node, Any]
    outputs: Sequence[Any]
    marks: Sequence[Mark]
    in_spec: TreeSpec
    out_spec: TreeSpec
    any_batch: bool


def marked_graph(
    model: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    trials: Sequence[Trial],
    backend: str = "auto",
) -> MarkedGraph:
    """The graph of `model` for these inputs, with marks where `trials` act.

    Raises:
        BackendError: There is none, or it would leave something out; says why.
    """
    marks: list[Mark] = []

    def marked() -> nn.Module:
        marks.clear()
        made = twin(model, hooked=True)
        _mark(made, trials, marks, backend)
        return made

    program = export_copy(model, marked, args, kwargs)
    any_batch = bool(program.range_constraints)
    with torch.no_grad():
        program = program.run_decompositions({})
    return _read(program, tuple(marks), any_batch=any_batch)


def _mark(
    model: nn.Module, trials: Sequence[Trial], marks: list[Mark], backend: str
) -> None:
    clock = Clock()
    clock.watch(model)
    wanting: dict[str, bool] = {}
    found = {}
    for trial in trials:
        for edit in trial.edits:
            name = edit.component.name
            found[name] = edit.component
            wanting[name] = wanting.get(name, False) or edit.wants_inputs
    for name, component in found.items():
        marker = Marker(marks, component, clock, wants_inputs=wanting[name])
        get_backend(backend, component).attach(model, component, marker)


def _read(
    program: ExportedProgram, marks: Sequence[Mark], *, any_batch: bool
) -> MarkedGraph:
    signature = program.graph_signature
    graph = program.graph
    placeholders = {n.name: n for n in graph.nodes if n.op == "placeholder"}
    fields: list[fx.Node] = []
    held: dict[fx.Node, str] = {}
    constants: dict[fx.Node, Any] = {}
    for given in signature.input_specs:
        node = placeholders[given.arg.name]
        if given.kind is InputKind.USER_INPUT:
            fields.append(node)
        elif given.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            held[node] = str(given.target)
        elif given.kind is InputKind.CONSTANT_TENSOR:
            constants[node] = program.constants[str(given.target)]
        else:
            raise BackendError(f"its graph takes a {given.kind.name.lower()}")
    changed = [
        s for s in signature.output_specs if s.kind is not OutputKind.USER_OUTPUT
    ]
    if changed:
        what = ", ".join(str(s.target or s.arg.name) for s in changed[:3])
        raise BackendError(f"its forward changes tensors that outlive it: {what}")
    nodes = [n for n in graph.nodes if n.op not in ("placeholder", "output")]
    for node in nodes:
        _require_known(node)
    spec: Any = program.call_spec
    (last,) = (n for n in graph.nodes if n.op == "output")
    return MarkedGraph(
        nodes=nodes,
        fields=fields,
        held=held,
        constants=constants,
        outputs=last.args[0],
        marks=marks,
        in_spec=spec.in_spec,
        out_spec=spec.out_spec,
        any_batch=any_batch,
    )


def _require_known(node: fx.Node) -> None:
    if node.op != "call_function":
        raise BackendError(f"its graph holds a {node.op} ({node.target})")
    target: Any = node.target
    tags: Any = getattr(target, "tags", ())
    if torch.Tag.nondeterministic_seeded in tags and _draws(node):
        raise BackendError(f"its forward draws random numbers ({target})")
    schema = getattr(target, "_schema", None)
    if schema is not None and schema.is_mutable:
        raise BackendError(f"its graph writes into tensors ({target})")


def _draws(node: fx.Node) -> bool:
    """Whether a function that may draw does so: attention draws for its dropout."""
    target: Any = node.target
    for place, argument in enumerate(target._schema.arguments):
        given = node.args[place] if place < len(node.args) else argument.default_value
        value: Any = node.kwargs.get(argument.name, given)
        if argument.name in _OFF and value == _OFF[argument.name]:
            return False
    return True


_OFF = {"dropout_p": 0.0, "train": False, "training": False}
_NUMBERS = (int, float, bool, torch.SymInt, torch.SymFloat)


def value_of(node: fx.Node) -> Any:
    """What a node gives, as the tracer knows it."""
    return node.meta.get("val")


def is_number(node: fx.Node) -> bool:
    """Whether a node gives a size and the like, not tensors."""
    return isinstance(value_of(node), _NUMBERS)


def is_tensor(node: fx.Node) -> bool:
    """Whether a node gives one tensor."""
    return isinstance(value_of(node), Tensor)


def held_tensor(model: nn.Module, path: str) -> Tensor:
    """A parameter or buffer by its path."""
    owner, _, name = path.rpartition(".")
    found: Tensor = getattr(model.get_submodule(owner), name)
    return found
