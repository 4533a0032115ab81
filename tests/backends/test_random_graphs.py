"""Random small models: every backend agrees with an interpreter, and undoes exactly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from surgery.anatomy import Component, record
from surgery.backend import BUILT_IN, get_backend
from surgery.errors import BackendError, OperationError, TargetError
from surgery.ops import Call
from surgery.targets import resolve
from surgery.testing._mount import Mounted
from surgery.testing._snapshot import snapshot
from tests.backends.graphs import WIDTH, Graph, Interpreter, Program, programs

SIZES = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def build(program: Program) -> Graph:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return Graph(program).double()


def batch() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, WIDTH, generator=generator, dtype=torch.float64)


def edit(value: Tensor) -> Tensor:
    return 0.5 * value + 0.3


def editing(output: Tensor, inputs: object) -> Tensor:
    return edit(output)


def outcome(graph: Graph, forward: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """The output, and the gradients of the input and of every parameter."""
    graph.zero_grad()
    x = batch().requires_grad_()
    out = forward(1 * x)
    (out * out.detach().cos()).sum().backward()
    grads = (p.grad for p in graph.parameters())
    zeros = (torch.zeros_like(p) for p in graph.parameters())
    pairs = zip(grads, zeros, strict=True)
    return [out.detach(), x.grad if x.grad is not None else torch.zeros_like(x)] + [
        zero if grad is None else grad for grad, zero in pairs
    ]


def editable(graph: Graph) -> list[Component]:
    seen = record(graph, (batch(),))
    called = {path: f.calls for path, f in seen.facts.items() if f.calls and path}
    modules = [Component(path, "module", path) for path in called]
    calls = [
        Component(f"{path}@1", "module", path, call=1)
        for path, count in called.items()
        if count > 1
    ]
    # What a leaf does inside is not written out in the interpreter.
    parts = [p for p in seen.parts if isinstance(graph.get_submodule(p.path), Graph)]
    return [*parts, *modules, *calls]


@SIZES
@given(program=programs(), data=st.data())
def test_the_interpreter_is_right_where_nothing_is_edited(
    program: Program, data: st.DataObject
) -> None:
    graph = build(program)
    nothing = Interpreter(Component("none", "module", "none"), edit)
    right = outcome(graph, lambda x: nothing.run(graph, x))
    for mine, theirs in zip(outcome(graph, graph), right, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("name", BUILT_IN)
@SIZES
@given(program=programs(), data=st.data())
def test_a_backend_agrees_with_the_interpreter_at_any_part(
    name: str, program: Program, data: st.DataObject
) -> None:
    backend = get_backend(name)
    graph = build(program)
    covered = [part for part in editable(graph) if backend.covers(part)]
    assume(covered)
    component = data.draw(st.sampled_from(covered), "component")
    truth = Interpreter(component, edit)
    right = outcome(graph, lambda x: truth.run(graph, x))
    graph.zero_grad(set_to_none=True)
    before = snapshot(graph, [graph(batch()).detach()])
    for known in (True, False):
        place = component if known else by_name(graph, component)
        if place is None:
            continue
        try:
            mounted = Mounted(backend, graph, place, Call(editing))
        except BackendError:  # said by name: it cannot act there
            assert name == "rewrite"
            continue
        try:
            got = outcome(graph, graph)
        except OperationError as error:
            mounted.remove()
            assert not known and "inputs=" in str(error)
            continue
        mounted.remove()
        assert mounted.edit.fired == truth.edited
        for mine, theirs in zip(got, right, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)
        graph.zero_grad(set_to_none=True)
        after = snapshot(graph, [graph(batch()).detach()])
        assert before.differences(after) == []


def by_name(graph: Graph, component: Component) -> Component | None:
    """What its name alone tells, where that says which one is meant."""
    try:
        found = resolve(graph, str(component), None)
    except TargetError:
        return None
    return found[0] if len(found) == 1 else None
