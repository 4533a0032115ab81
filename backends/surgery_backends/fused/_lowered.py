"""Lowering: a fused program as a module of torch.fx, to be read, compiled or kept.

A tape is lighter and is what runs; this is the same calls in the same order, as a graph
that others' tools take. It calls with the inputs of the model and gives the model's
output, with every tensor `[1 + N, ...]`: the baseline's first, then every variant's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, fx, nn
from torch.fx.graph import _PyTreeCodeGen, _PyTreeInfo  # pyright: ignore

from surgery.ops import Clock
from surgery_backends.fused._act import Act
from surgery_backends.fused._tape import Slot

if TYPE_CHECKING:
    from surgery_backends.fused._program import FusedProgram

_OWN = "fused"
"""Below this name is what a model has no name for."""


def lowered(program: FusedProgram) -> fx.GraphModule:
    """A program as a module of torch.fx.

    Args:
        program: What it is to compute. Variants without a place in it have the
            baseline's outputs.

    Returns:
        A module that takes what the model takes, in batches of the size that the
        program is for. It holds the model's tensors themselves, under their names.
    """
    return _Lowering(program).module()


class _Lowering:
    """One program on its way to a module."""

    def __init__(self, program: FusedProgram) -> None:
        self._program = program
        self._plan = program.plan
        self._tape = program.tape
        self._root = nn.Module()
        self._graph = fx.Graph()
        self._nodes: dict[int, fx.Node] = {}
        self._names = self._held_names()
        self._acts: list[Act] = []

    def module(self) -> fx.GraphModule:
        """Write all calls."""
        marked, graph = self._plan.marked, self._graph
        for field, index in zip(marked.fields, self._tape.inputs, strict=True):
            self._nodes[index] = graph.placeholder(field.name)
        given = list(self._nodes.values())
        self._call_own("begin", _Begin(self._clocks()), tuple(given))
        outputs: dict[int | None, Sequence[Any]] = {}
        makers = self._made_names()
        for step in self._tape.steps:
            args = [self._mapped(x) for x in step.args]
            kwargs = {key: self._mapped(x) for key, x in step.kwargs.items()}
            if step.function is self._program.receiver:
                outputs[args[0]] = args[1]
            elif isinstance(step.function, Act):
                self._nodes[step.out] = self._act(step.function, args)
            elif step.function in makers:
                _put(self._root, makers[step.function], step.function())
                self._nodes[step.out] = graph.get_attr(makers[step.function])
            else:
                self._nodes[step.out] = graph.call_function(
                    step.function, tuple(args), kwargs
                )
        self._call_own("end", _End(self._clocks()), ())
        graph.output(tuple(self._stacked(outputs)))
        graph.set_codegen(_codegen(marked.in_spec, marked.out_spec))
        made = fx.GraphModule(self._root, graph, "Fused")
        graph.lint()
        return made

    def _stacked(self, outputs: Mapping[int | None, Sequence[Any]]) -> list[Any]:
        """Every leaf of the output, for the baseline and all variants."""
        variants = (None, *range(len(self._plan.edits)))
        rows = [outputs.get(variant, outputs[None]) for variant in variants]
        stack = torch.ops.aten.stack.default
        return [
            self._graph.call_function(stack, (list(leaf),))
            if isinstance(leaf[0], fx.Node)
            else leaf[0]
            for leaf in zip(*rows, strict=True)
        ]

    def _act(self, act: Act, args: Sequence[Any]) -> fx.Node:
        name = f"act{len(self._acts)}"
        self._acts.append(act)
        return self._call_own(name, _Acting(act), tuple(args))

    def _call_own(self, name: str, module: nn.Module, args: Any) -> fx.Node:
        if not hasattr(self._root, _OWN):
            self._root.add_module(_OWN, nn.Module())
        self._root.get_submodule(_OWN).add_module(name, module)
        return self._graph.call_module(f"{_OWN}.{name}", args)

    def _clocks(self) -> list[Clock]:
        acts = (s.function for s in self._tape.steps if isinstance(s.function, Act))
        return list(dict.fromkeys(edit.clock for act in acts for edit in act.edits))

    def _held_names(self) -> dict[int, str]:
        """What held values are called, by place: they are held in this order."""
        marked = self._plan.marked
        names = [
            *marked.held.values(),
            *(f"{_OWN}.{node.name}" for node in marked.constants),
        ]
        return dict(zip(self._tape.held, names, strict=True))

    def _made_names(self) -> dict[Callable[..., Any], str]:
        """What values of variants' own are called, by what makes them."""
        held = self._plan.marked.held
        return {
            make: f"{_OWN}.variant{number}.{held[node]}"
            for number, values in enumerate(self._plan.values)
            for node, make in values.items()
        }

    def _mapped(self, value: Any) -> Any:
        """Arguments of a call with nodes in the place of slots."""
        if isinstance(value, Slot):
            return self._node(value.index)
        if isinstance(value, (tuple, list)):
            return [self._mapped(x) for x in cast("Sequence[Any]", value)]
        return value

    def _node(self, index: int) -> fx.Node:
        if index not in self._nodes:
            name = self._names[index]
            _put(self._root, name, self._tape.held[index])
            self._nodes[index] = self._graph.get_attr(name)
        return self._nodes[index]


class _Acting(nn.Module):
    """Operations at one mark."""

    def __init__(self, act: Act) -> None:
        super().__init__()
        self.act = act

    def forward(self, outputs: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
        return self.act(outputs, inputs)


class _Timed(nn.Module):
    """Tells clocks of a forward: operations count forwards, and draw by the count."""

    _is_impure = True  # nothing takes what it gives, yet it must be called

    def __init__(self, clocks: Sequence[Clock]) -> None:
        super().__init__()
        self.clocks = list(clocks)


class _Begin(_Timed):
    def forward(self, *leaves: Any) -> None:
        for clock in self.clocks:
            clock.start(self, leaves, {})


class _End(_Timed):
    def forward(self) -> None:
        for clock in self.clocks:
            clock.end(self, (), None)


def _put(root: nn.Module, name: str, value: Any) -> None:
    """Have a tensor at a path, with modules on the way to it."""
    *above, last = name.split(".")
    module = root
    for part in above:
        if part not in module._modules:  # pyright: ignore
            module.add_module(part, nn.Module())
        module = cast("nn.Module", module._modules[part])  # pyright: ignore
    if isinstance(value, nn.Parameter):
        module.register_parameter(last, value)
    elif isinstance(value, Tensor):
        module.register_buffer(last, value)
    else:
        setattr(module, last, value)


def _codegen(in_spec: Any, out_spec: Any) -> Any:
    """Code that takes inputs and gives outputs nested as the model's."""
    args, kwargs = in_spec.child(0), in_spec.child(1)
    names = [f"arg{i}" for i in range(args.num_children)]
    info: Callable[..., Any] = _PyTreeInfo
    return _PyTreeCodeGen(info([*names, *kwargs.context], in_spec, out_spec))
