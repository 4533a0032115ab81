"""Part: one thing that a study can leave out, as frozen data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from surgery.report import JSONValue
from surgery.study.configs import plain

Removal = Literal["excise", "identity", "zero", "freeze"]
NeutralFeature = Literal["drop", "zero", "mean", "shuffle"]


@dataclass(frozen=True)
class Hypothesis:
    """What is expected of leaving a part out, said before the run.

    Attributes:
        expect: The change of the first metric, or `"worse"`, `"better"`; `None`: none.
        why: The reason, in words.
    """

    expect: float | Literal["worse", "better"] | None = None
    why: str = ""


@dataclass(frozen=True)
class Part(ABC):
    """One thing that can be left out; its subclasses say which.

    Attributes:
        name: What it is called in tables, and in `arms=`.
        priority: Lower ones run first.
        hypothesis: What is expected of leaving it out.
        group: The elements of a group as the user gave them; else empty.
    """

    name: str
    priority: int = field(default=0, kw_only=True)
    hypothesis: Hypothesis = field(default=Hypothesis(), kw_only=True)
    group: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    @abstractmethod
    def kind(self) -> str:
        """One word for what is left out: feature, layer, factor or model."""

    @property
    def slot(self) -> str:
        """Parts with the same slot exclude each other: values of one factor do."""
        return f"{self.kind}:{self.name}"

    @abstractmethod
    def identity(self) -> JSONValue:
        """What of it determines a trial, as JSON; its name does not."""


@dataclass(frozen=True)
class LayerPart(Part):
    """Components of the model, out of action from before the training starts.

    Attributes:
        targets: What they are, each a target of `surgery`.
        remove: How: `excise` builds the model without them; `identity` and `zero` hold
            their output so throughout; `freeze` keeps them as they were drawn.
    """

    targets: tuple[str, ...] = ()
    remove: Removal = "excise"

    @property
    def kind(self) -> str:
        return "layer"

    def identity(self) -> JSONValue:
        return ["layer", self.remove, *sorted(self.targets)]


@dataclass(frozen=True)
class FeaturePart(Part):
    """Features of the data: columns of frames, `feature#3`, `channel#0`, keys.

    Attributes:
        features: Which ones.
        remove: `drop` takes them out; `zero`, `mean` and `shuffle` leave them in place
            without what they tell.
    """

    features: tuple[str, ...] = ()
    remove: NeutralFeature = "drop"

    @property
    def kind(self) -> str:
        return "feature"

    def identity(self) -> JSONValue:
        return ["feature", self.remove, *sorted(self.features)]


@dataclass(frozen=True)
class FactorPart(Part):
    """Values of the config that change together.

    Attributes:
        values: The other value of each dotted path.
        when: Values that the config must have for this to mean anything.
        align: Whether the parameters that the model shares with the base start equal
            even where the factor changes how it is drawn.
    """

    values: Mapping[str, object] = field(default_factory=dict[str, object])
    when: Mapping[str, object] = field(default_factory=dict[str, object])
    align: bool = False

    @property
    def kind(self) -> str:
        return "factor"

    @property
    def slot(self) -> str:
        return "factor:" + ",".join(sorted(self.values))

    def identity(self) -> JSONValue:
        """Where the config tells all, nothing."""
        return ["aligned"] if self.align else None

    def described(self) -> str:
        return ", ".join(f"{path} = {plain(v)}" for path, v in self.values.items())


@dataclass(frozen=True)
class CustomModel(Part):
    """Another model in the place of the base model.

    Attributes:
        factory: Makes it; may take `model`, the base model, beside what factories take.
        code: Hash of the factory's source.
    """

    factory: Callable[..., nn.Module] | None = None
    code: str = ""

    @property
    def kind(self) -> str:
        return "model"

    @property
    def slot(self) -> str:
        return "model"

    def identity(self) -> JSONValue:
        return ["model", self.code]


def described(part: Part) -> str:
    """What leaving it out means, in a few words."""
    match part:
        case LayerPart():
            return f"{part.remove} {' + '.join(part.targets)}"
        case FeaturePart():
            return f"{part.remove} {' + '.join(part.features)}"
        case FactorPart():
            return part.described()
        case CustomModel():
            factory: Any = part.factory
            return f"model of {getattr(factory, '__qualname__', factory)}"
        case _:
            return part.kind
