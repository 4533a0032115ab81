"""Small random models: programs over registers, run by a module or by an interpreter.

The module runs a program with torch's functions and child modules, as any forward does;
the interpreter runs the same program step by step with plain arithmetic, with one
operand, result or child's output edited: the slow, obvious truth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from operator import ne
from typing import Any, Literal

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from surgery.anatomy import Component, Site

WIDTH = 3
Kind = Literal["child", "add", "iadd", "mul", "gate", "cat", "stack", "relu", "pair"]
Edit = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Step:
    """One line of a program: reads registers, writes the next one (`pair`: two)."""

    kind: Kind
    reads: tuple[int, ...]
    child: str = ""


@dataclass(frozen=True)
class Program:
    """A forward, and the programs of nested modules by name."""

    steps: tuple[Step, ...]
    nested: tuple[tuple[str, Program], ...] = ()


class Swap(nn.Module):
    """Two values in, two out, as a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDTH))

    def forward(self, pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return pair[1] - self.weight, pair[0]


class Graph(nn.Module):
    """Runs a program; its own code calls the functions, its children the rest."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program
        for name, inner in program.nested:
            self.add_module(name, Graph(inner))
        for step in program.steps:
            if step.child and not hasattr(self, step.child):
                wide = len(step.reads) if step.kind == "cat" else 1
                child = nn.Linear(wide * WIDTH, WIDTH)
                self.add_module(step.child, Swap() if step.kind == "pair" else child)

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for step in self.program.steps:
            read = [values[i] for i in step.reads]
            child = getattr(self, step.child, None)
            match step.kind:
                case "child":
                    out = child(read[0])  # type: ignore[misc]
                case "add":
                    out = read[0] + read[1]
                case "iadd":
                    out = read[0]
                    out += read[1]
                case "mul":
                    out = read[0] * read[1]
                case "gate":
                    out = read[0] * torch.sigmoid(child(read[1]))  # type: ignore[misc]
                case "cat":
                    out = child(torch.cat(read, 1))  # type: ignore[misc]
                case "stack":
                    out = torch.stack(read).sum(0)
                case "relu":
                    out = torch.relu(read[0])
                case "pair":
                    first, out = child((read[0], read[1]))  # type: ignore[misc]
                    values.append(first)
            values.append(out)
        return values[-1]


@dataclass
class Interpreter:
    """Runs a model's program with one thing edited."""

    component: Component
    edit: Edit
    calls: Counter[str] = field(default_factory=Counter[str])
    edited: int = 0

    def run(self, graph: Graph, x: Tensor, path: str = "") -> Tensor:
        call = self.calls[path]
        self.calls[path] += 1
        counts: Counter[str] = Counter()
        values = [x]

        def function(name: str, operands: list[Tensor], run: Callable[..., Any]) -> Any:
            site = Site(path, name, counts[name])
            counts[name] += 1
            for place, operand in enumerate(operands):
                operands[place] = self._at(site, call, place, operand)
            return self._at(site, call, None, run(*operands))

        for step in graph.program.steps:
            read = [values[i] for i in step.reads]
            below = f"{path}.{step.child}" if path else step.child
            match step.kind:
                case "child":
                    child = getattr(graph, step.child)
                    inner = isinstance(child, Graph)
                    out = self.run(child, read[0], below) if inner else child(read[0])
                    out = self._module(below, inner, out)
                case "add":
                    out = function("add", read, torch.add)
                case "iadd":
                    out = function("add", read, torch.add)
                    values[step.reads[0]] = out  # whoever reads it later sees this
                case "mul":
                    out = function("mul", read, torch.mul)
                case "gate":
                    raw = getattr(graph, step.child)(read[1])
                    raw = self._module(below, False, raw)
                    gate = function("sigmoid", [raw], torch.sigmoid)
                    out = function("mul", [read[0], gate], torch.mul)
                case "cat":
                    joined = function("cat", read, lambda *xs: torch.cat(xs, 1))
                    out = getattr(graph, step.child)(joined)
                    out = self._module(below, False, out)
                case "stack":
                    piled = function("stack", read, lambda *xs: torch.stack(xs))
                    out = function("sum", [piled], lambda pile: pile.sum(0))
                case "relu":
                    out = function("relu", read, torch.relu)
                case "pair":
                    weight = getattr(graph, step.child).weight
                    first = self._module(below, False, read[1] - weight)
                    values.append(first)
                    out = read[0]
            values.append(out)
        return values[-1]

    def _module(self, path: str, counted: bool, out: Tensor) -> Tensor:
        call = self.calls[path] - counted
        self.calls[path] += not counted
        mine = self.component
        if mine.kind == "module" and mine.path == path and mine.call in (None, call):
            self.edited += 1
            return self.edit(out)
        return out

    def _at(self, site: Site, call: int, operand: int | None, value: Tensor) -> Tensor:
        place = self.component.place
        for mine in place.sites if place else ():
            if (
                (mine.path, mine.function, mine.operand)
                == (site.path, site.function, operand)
                and mine.index in (None, site.index)
                and mine.call in (None, call)
            ):
                self.edited += 1
                return self.edit(value)
        return value


@st.composite
def programs(draw: st.DrawFn, depth: int = 1) -> Program:
    """Forwards of two to six steps, one of them a nested module perhaps."""
    nested: list[tuple[str, Program]] = []
    if depth and draw(st.booleans()):
        nested.append(("inner", draw(programs(depth=0))))
    steps: list[Step] = [Step("child", (0,), "first")]
    registers, fresh = 2, {1}  # what may be changed in place: nothing has kept it
    for _ in range(draw(st.integers(2, 6))):
        kind: Kind = draw(st.sampled_from(KINDS))
        if kind == "iadd" and not fresh:
            kind = "add"
        count = {"child": 1, "relu": 1, "cat": 3, "stack": 3}.get(kind, 2)
        recent = st.integers(max(0, registers - 3), registers - 1)
        reads = [draw(recent) for _ in range(count)]
        if kind == "iadd":
            reads[0] = draw(st.sampled_from(sorted(fresh)))
            # Two names of one tensor: adding it to itself in place is another story.
            reads[1] = draw(recent.filter(partial(ne, reads[0])))
        child = ""
        if kind == "child":
            names = ["first", f"fc{len(steps)}", *(name for name, _ in nested)]
            child = draw(st.sampled_from(names))
        elif kind in ("gate", "cat", "pair"):
            child = f"{kind}{len(steps)}"
        steps.append(Step(kind, tuple(reads), child))
        if kind not in ("add", "stack"):
            fresh -= set(reads)
        if kind in ("iadd", "relu", "pair"):
            fresh.clear()
        registers += 2 if kind == "pair" else 1
        if kind in ("child", "add", "stack") and child != "inner":
            fresh.add(registers - 1)
    used = tuple(pair for pair in nested if any(s.child == pair[0] for s in steps))
    return Program(tuple(steps), used)


KINDS: tuple[Kind, ...] = (
    "child",
    "add",
    "add",
    "iadd",
    "mul",
    "gate",
    "cat",
    "stack",
    "relu",
    "pair",
)
