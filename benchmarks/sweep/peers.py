"""Peers: captum, nnsight and pyvene taking the same parts out.

They live in an environment of their own (`make bench-peers`). Each does what its own
documentation shows for one component after the other; what comes out of the ablated
forward is kept, so that results can be compared.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import groupby
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor

from benchmarks.sweep.parts import Part, zero_features
from benchmarks.sweep.ways import AbstractWay, Job, Unavailable, classified


class _Peer(AbstractWay):
    """Another library, imported at use."""

    module: ClassVar[str]

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        if any(not part.path for part in job.parts):
            raise Unavailable("it acts on modules; a skip is none")
        try:
            self.library: Any = import_module(self.module)
        except ImportError as error:
            raise Unavailable(f"not installed ({error}); `make bench-peers`") from error


class Captum(_Peer):
    """`LayerFeatureAblation`: a layer as one feature, or its heads as several."""

    name = "captum"
    module = "captum.attr"

    def prepare(self) -> None:
        self._seen: list[Tensor] = []

    def run(self) -> list[Tensor]:
        with torch.no_grad():
            found = [self.job.model(self.job.x)]
            for path, parts in groupby(self.job.parts, key=attrgetter("path")):
                found += self._ablated(path, list(parts))
        return list(map(classified, found))

    def _ablated(self, path: str, parts: Sequence[Part]) -> list[Tensor]:
        job = self.job
        ranges = [part.features for part in parts]
        mask = torch.zeros(1, dtype=torch.long)
        if ranges[0] is not None:
            widths = torch.tensor(
                [last - first for first, last in filter(None, ranges)]
            )
            mask = torch.arange(len(parts)).repeat_interleave(widths)
        self._seen.clear()
        layer = job.model.get_submodule(path)
        self.library.LayerFeatureAblation(self._forward, layer).attribute(
            job.x,
            layer_mask=mask.to(job.x.device),
            attribute_to_layer_input=ranges[0] is not None,
        )
        return self._seen[-len(parts) :]

    def _forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.job.model(x)
        self._seen.append(logits)
        return logits[:, 0]


class _OneByOne(_Peer):
    """A library that is given one component at a time."""

    def run(self) -> list[Tensor]:
        with torch.no_grad():
            found = [self.job.model(self.job.x)]
            found += [self._without(part) for part in self.job.parts]
        return list(map(classified, found))

    @abstractmethod
    def _without(self, part: Part) -> Tensor:
        """Logits without a part."""


class Nnsight(_OneByOne):
    """One trace per component, its output set to zeros."""

    name = "nnsight"
    module = "nnsight"

    def prepare(self) -> None:
        self._model: Any = self.library.NNsight(self.job.model)

    def _without(self, part: Part) -> Tensor:
        model, x, features = self._model, self.job.x, part.features
        module = model.get(part.path)
        # nnsight reads the source of a trace: plain names and calls only.
        if features is None:
            with model.trace(x):
                module.output = torch.zeros_like(module.output)
                logits = model.output.save()
        else:
            with model.trace(x):
                module.input = zero_features(module.input, features)
                logits = model.output.save()
        found: Tensor = logits
        return found


class Pyvene(_OneByOne):
    """One `IntervenableModel` per component, made beforehand."""

    name = "pyvene"
    module = "pyvene"

    def prepare(self) -> None:
        if not hasattr(self.job.model, "config"):
            # It asks every model for one.
            self.job.model.config = SimpleNamespace(hidden_size=1)  # type: ignore[assignment]
        self._models = {
            part: self.library.IntervenableModel(
                {"component": _indexed(part), "intervention": _intervention(part)},
                model=self.job.model,
            )
            for part in self.job.parts
        }

    def _without(self, part: Part) -> Tensor:
        _, logits = self._models[part]({"x": self.job.x})
        found: Tensor = logits
        return found


PEERS: dict[str, Callable[[Job], AbstractWay]] = {
    way.name: way for way in (Captum, Nnsight, Pyvene)
}


def _indexed(part: Part) -> str:
    """A path as pyvene spells it: `layer1.0.bn2` is `layer1[0].bn2.output`."""
    spelled = "".join(
        f"[{name}]" if name.isdigit() else f".{name}" for name in part.path.split(".")
    )
    return f"{spelled.lstrip('.')}.{'output' if part.features is None else 'input'}"


def _intervention(part: Part) -> Callable[..., Any]:
    features = part.features

    def zero(base: Tensor, source: Any) -> Tensor:
        return torch.zeros_like(base)

    def headless(base: Tensor, source: Any) -> Tensor:
        assert features is not None
        return zero_features(base, features)

    return zero if features is None else headless
