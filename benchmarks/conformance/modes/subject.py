"""A subject: a shaken model, with everything about it recorded once beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

import surgery
from benchmarks.conformance.modes.freezing import Step, train_step
from benchmarks.conformance.modes.models import Probe
from benchmarks.conformance.shake import shake
from benchmarks.conformance.state import Snapshot, same_bits
from surgery import Component
from surgery.anatomy import main_tensor, tensors


class Subject:
    """A model under check.

    Attributes:
        model: Shaken, in eval mode.
        start: Its state dict before shaking: what `rewind` goes back to.
        snapshot: The model as it must be again after every check.
        output: Every tensor of the model's output.
        own: Each module's own output at each call, by path.
        means: Each module's mean output over `probe.data` at each call, by path.
        step: What one training step moves.
        parts: The model's components.
    """

    def __init__(self, probe: Probe, seed: int = 0) -> None:
        self.probe = probe
        self.model = probe.model
        self.start = {n: t.clone() for n, t in self.model.state_dict().items()}
        shake(self.model, seed)
        self.parts = surgery.components(self.model, *probe.args, kwargs=probe.kwargs)
        self.snapshot = Snapshot(self.model)
        self.own: dict[str, list[Tensor]] = {}
        self.output: list[Tensor] = []
        self._watched(self._run_once, self.own)
        self.means = self._means()
        self.step: Step = train_step(self.model, self.run, self.snapshot)
        again = self.run()
        if not same_outputs(again, self.output):
            raise RuntimeError("two equal forwards of the untouched model differ")
        if not all(bool(x.isfinite().all()) for x in again if x.is_floating_point()):
            raise RuntimeError("the untouched model gives values that are not finite")
        if left := self.snapshot.differences(self.model):
            raise RuntimeError(f"recording the subject changed it: {left}")

    def run(self) -> list[Tensor]:
        """One forward on the probe's inputs; every tensor that comes out."""
        return tensors(self.model(*self.probe.args, **self.probe.kwargs))

    def called(self) -> list[Component]:
        """The modules that the forward calls."""
        return [c for c in self.parts if c.kind == "module" and c.path in self.own]

    def uncalled(self) -> list[Component]:
        """The modules that the forward never calls."""
        return [c for c in self.parts if c.kind == "module" and c.path not in self.own]

    def _run_once(self) -> None:
        with torch.no_grad():
            self.output = [x.clone() for x in self.run()]

    def _means(self) -> Mapping[str, list[Tensor]]:
        (batch,) = self.probe.data
        outputs: dict[str, list[Tensor]] = {}

        def run() -> None:
            with torch.no_grad():
                if isinstance(batch, Mapping):
                    self.model(**batch)
                else:
                    self.model(batch[0])

        self._watched(run, outputs)
        return {
            path: [(x.double().sum(0, keepdim=True) / len(x)).to(x.dtype) for x in xs]
            for path, xs in outputs.items()
            if all(x.is_floating_point() and x.ndim for x in xs)
        }

    def _watched(self, run: Callable[[], None], into: dict[str, list[Tensor]]) -> None:
        """Run with a hook on every module that keeps a copy of its main output."""
        with ExitStack() as stack:
            for path, module in self.model.named_modules():
                handle = module.register_forward_hook(_keeper(into, path))
                stack.callback(handle.remove)
            run()


def same_outputs(a: list[Tensor], b: list[Tensor]) -> bool:
    """Whether two lists of tensors agree in every bit."""
    return len(a) == len(b) and all(map(same_bits, a, b))


def _keeper(into: dict[str, list[Tensor]], path: str) -> Callable[..., None]:
    def keep(module: nn.Module, args: Any, output: object) -> None:
        outputs = into.setdefault(path, [])
        main = main_tensor(output)
        if main is not None:
            outputs.append(main.detach().clone())

    return keep
