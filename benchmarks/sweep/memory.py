"""Memory: bytes that a program holds against its plan, and what a process grows by.

`python -m benchmarks.sweep.memory CASE BUDGET` is the fresh process: it prints JSON.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from benchmarks.sweep.config import Case
from benchmarks.sweep.models import make_inputs, make_model
from benchmarks.sweep.ours import Evaluated
from benchmarks.sweep.parts import parts_of
from benchmarks.sweep.ways import Job
from surgery.evaluator import AbstractEvaluator


class Held(TorchDispatchMode):
    """Counts bytes of storages that operations make, while any tensor has them.

    Attributes:
        now: Bytes at present.
        peak: The most there were.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._users: dict[int, int] = {}
        self._held: Any = WeakTensorKeyDictionary()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        foreign = {_storage(x) for x in given} - self._users.keys()
        out = func(*args, **(kwargs or {}))
        for x in tree_leaves(out):
            if isinstance(x, Tensor) and _storage(x) not in foreign:
                self._hold(x)
        return out

    def _hold(self, x: Tensor) -> None:
        if x in self._held:  # it was written to in place
            return
        key, size = _storage(x), x.untyped_storage().nbytes()
        if key not in self._users:
            self._users[key] = 0
            self.now += size
            self.peak = max(self.peak, self.now)
        self._users[key] += 1
        self._held[x] = key
        weakref.finalize(x, self._let_go, key, size)

    def _let_go(self, key: int, size: int) -> None:
        self._users[key] -= 1
        if not self._users[key]:
            del self._users[key]
            self.now -= size


def _storage(x: Tensor) -> int:
    return int(x.untyped_storage()._cdata)


@dataclass(frozen=True)
class Grown:
    """What a sweep takes.

    Attributes:
        case: The case's name.
        budget: Bytes that were allowed; `None` for the default.
        planned: Bytes that the program was to hold at most; `None` if it does not say.
        counted: Bytes of tensors that it held at most.
        first: What the process grew by in the first batch, graph and plan with it.
        later: What it grew by in a later batch.
        stacked: How many variants were computed together.
    """

    case: str
    budget: int | None
    planned: int | None
    counted: int
    first: int
    later: int
    stacked: str


def grow(case: Case, budget: int | None) -> Grown:
    """Measure in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.sweep.memory",
        case.name,
        str(budget or 0),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Grown(**json.loads(done.stdout.splitlines()[-1]))


def planned_bytes(evaluator: AbstractEvaluator) -> int | None:
    """What the evaluator says that its program holds at most, its inputs with it."""
    told: dict[str, int] = evaluator.plan().get("peak_bytes", {})
    return next(iter(told.values()), None)


def measured(case: Case, budget: int | None) -> Grown:
    """Evaluate batches in this process, which should be a fresh one."""
    torch.set_num_threads(1)  # threads have arenas of their own
    model, x = make_model(case), make_inputs(case)
    parts = parts_of(model, case.model, case.parts, x)
    with torch.no_grad():
        model(x)
    way = Evaluated(Job(model, case.model, x, parts), "fused", budget)
    first = growth(way.prepare)
    later = growth(way.run)
    with Held() as held:
        way.run()
    plan = way.plan()
    stacks = list(plan.get("stack", {}).values())
    return Grown(
        case.name,
        budget,
        planned_bytes(way.evaluator),
        held.peak + x.nbytes,
        first,
        later,
        str(stacks[0]) if stacks else "",
    )


def growth(run: Callable[[], object]) -> int:
    """By how many bytes the resident set grows at most during a call."""
    ctypes.CDLL(None).malloc_trim(0)  # what is free must not stand for growth
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    run()
    return max(0, _status("VmHWM") - before)


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def memory_table(found: Sequence[Grown], off: float) -> str:
    """What was planned, counted and grown by, as Markdown."""
    lines = [
        "| case | budget, MiB | stacked | planned, MiB | counted, MiB | within "
        f"{off:.0%} | grew in a later batch, MiB | in the first, MiB | below budget |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for g in found:
        near = "not told"
        if g.planned is not None:
            near = "yes" if abs(g.counted - g.planned) <= off * g.planned else "NO"
        below = "" if g.budget is None else ("yes" if g.later <= g.budget else "NO")
        lines.append(
            f"| {g.case} | {_mib(g.budget)} | {g.stacked} | {_mib(g.planned)} | "
            f"{_mib(g.counted)} | {near} | {_mib(g.later)} | {_mib(g.first)} | "
            f"{below} |"
        )
    return "\n".join(lines)


def _mib(size: int | None) -> str:
    return "default" if size is None else f"{size / 2**20:.1f}"


def main(arguments: Sequence[str]) -> None:
    """The fresh process."""
    name, budget = arguments
    print(json.dumps(vars(measured(Case.parse(name), int(budget) or None))))


if __name__ == "__main__":
    main(sys.argv[1:])
