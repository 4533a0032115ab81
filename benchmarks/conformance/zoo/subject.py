"""Subject: a model of the zoo, shaken, with everything in it that can be named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn

import surgery
from benchmarks.conformance.shake import shake
from benchmarks.conformance.zoo.cases import build
from benchmarks.conformance.zoo.guard import Guard, same_outputs
from benchmarks.conformance.zoo.specimen import Case
from surgery import Component
from surgery.anatomy import main_tensor, tensors
from surgery.anatomy._component import Kind

KINDS: tuple[Kind, ...] = tuple(
    kind for kind in get_args(Kind) if kind not in ("channel", "parameter")
)
"""What is listed: all kinds with an output; of channels only some are tried."""


@dataclass(frozen=True)
class Item:
    """One thing to operate on.

    Attributes:
        target: What `surgery.ablate` is given.
        kind: Its kind, `"container"` for a module that is not called but has children
            that are.
        part: The component, where it was listed.
    """

    target: str | Component
    kind: str
    part: Component | None = None

    @property
    def name(self) -> str:
        return str(self.target)


@dataclass
class Calls:
    """What hooks of our own saw of one module in one forward."""

    count: int = 0
    tensors: int = 0
    nonzero: bool = False


class Subject:
    """A model under check.

    Attributes:
        model: Shaken, in eval mode.
        input: What goes in, in words.
        calls: What our own hooks saw of each module, by path.
        parts: The model's components, of all kinds that have outputs.
        guard: The model as it must be again after every check.
    """

    def __init__(self, case: Case, seed: int = 0) -> None:
        specimen = build(case, seed)
        self.specimen = specimen
        self.model: nn.Module = specimen.model
        self.input = specimen.input
        shake(self.model, seed)
        self.run()  # some models fill caches in their first forward
        self.parts: Sequence[Component] = surgery.components(
            self.model, *specimen.args, kwargs=dict(specimen.kwargs), kinds=KINDS
        )
        self.calls = self._census()
        self.guard = Guard(self.model, self.run)
        self._require_sound()

    @torch.no_grad()
    def run(self) -> list[Tensor]:
        """One forward; every tensor that comes out."""
        return tensors(self.model(*self.specimen.args, **self.specimen.kwargs))

    @property
    def output(self) -> list[Tensor]:
        """What comes out of the untouched model."""
        return self.guard.output

    def items(self) -> list[Item]:
        """Everything to operate on: every component, and some channels."""
        found = [Item(part, self._kind(part), part) for part in self.parts]
        return found + [Item(name, "channel") for name in self._channels()]

    def count(self, kind: str) -> int:
        """How many components of a kind are listed."""
        return sum(part.kind == kind for part in self.parts)

    def inside(self, path: str) -> bool:
        """Whether a module within the one at `path` is called."""
        return any(
            calls.count and name.startswith(f"{path}.")
            for name, calls in self.calls.items()
        )

    def _kind(self, part: Component) -> str:
        if part.kind != "module" or self.calls[part.path].count:
            return part.kind
        return "container" if self.inside(part.path) else "uncalled"

    def _channels(self) -> list[str]:
        """First channel of the first, middle and last convolution, last of a linear."""
        convs = self._called(nn.Conv1d, nn.Conv2d, nn.Conv3d)
        chosen = [*convs[:1], *convs[len(convs) // 2 : len(convs) // 2 + 1]]
        chosen += [*convs[-1:], *self._called(nn.Linear)[-1:]]
        return list(dict.fromkeys(f"{part}:channel#0" for part in chosen))

    def _called(self, *types: type[nn.Module]) -> list[Component]:
        return [
            part
            for part in self.parts
            if part.kind == "module"
            and self.calls[part.path].count
            and isinstance(self.model.get_submodule(part.path), types)
        ]

    def _census(self) -> dict[str, Calls]:
        calls = {path: Calls() for path, _ in self.model.named_modules()}
        with ExitStack() as stack:
            for path, module in self.model.named_modules():
                if isinstance(module, torch.jit.ScriptModule):
                    continue  # takes no hooks
                hook = _counting(calls[path])
                stack.callback(module.register_forward_hook(hook).remove)
            self.run()
        return calls

    def _require_sound(self) -> None:
        again = self.run()
        if not same_outputs(again, self.output):
            raise RuntimeError("two equal forwards of the untouched model differ")
        if not all(bool(x.isfinite().all()) for x in again if x.is_floating_point()):
            raise RuntimeError("the untouched model gives values that are not finite")
        if faults := self.guard.full():
            raise RuntimeError(f"recording changed the model: {faults}")


def _counting(calls: Calls) -> Callable[..., None]:
    def count(module: nn.Module, args: Any, output: object) -> None:
        main = main_tensor(output)
        calls.count += 1
        if main is not None:
            calls.tensors += 1
            calls.nonzero = calls.nonzero or bool(main.any())

    return count
