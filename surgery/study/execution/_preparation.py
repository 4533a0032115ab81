"""Preparation: data and model of one trial, ready to be trained, and how they start."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from surgery._random import derive, seed_all
from surgery.errors import StudyError
from surgery.study.arms import CustomModel, FactorPart, FeaturePart, LayerPart
from surgery.study.columns import Removed, feature_names, lacking, numbered
from surgery.study.execution._example import example_inputs
from surgery.study.execution._inject import call_by_name, takes
from surgery.study.execution._operate import Operated, operate
from surgery.study.execution._recipe import Recipe
from surgery.study.execution._seeding import order_seeded
from surgery.study.execution._start import Start, compare
from surgery.study.trials import Request


@dataclass
class Preparation:
    """What is trained on what.

    Attributes:
        data: What the train function is given.
        operated: The model, with parts out of action.
        arguments: What all functions of this trial may take.
        start: How the model starts, against the base's.
        inputs: An example input; `None` where nothing tells.
        generators: Those that the data's order is drawn from.
        notes: What a reader must know.
    """

    data: Any
    operated: Operated
    arguments: dict[str, Any]
    start: Start
    inputs: Any = None
    generators: list[torch.Generator] = field(default_factory=list[torch.Generator])
    notes: list[str] = field(default_factory=list[str])

    @property
    def model(self) -> nn.Module:
        return self.operated.model


def prepare(recipe: Recipe, request: Request, device: str) -> Preparation:
    """Make data and model of a trial, and take away what its arm leaves out.

    Advances and seeds the global generators: the caller preserves them.

    Raises:
        StudyError: A promise of fair comparison is broken, or a factory does not
            return what it should.
    """
    arguments = arguments_for(request, device)
    data = make_data(recipe, request, arguments)
    fresh = is_factory(recipe.tiers[request.tier].data)
    data, generators = order_seeded(data, request.seed, fresh=fresh)
    inputs = example_inputs(recipe, data, arguments, device)
    model = make_model(recipe, request, arguments).to(device)
    base = None if not request.arm.parts else base_model(recipe, request, arguments)
    aligned = 0
    if base is not None and _aligns(request):
        aligned = compare(base, model, align=True).aligned
    layers = [part for part in request.arm.parts if isinstance(part, LayerPart)]
    operated = operate(model, layers, inputs, request.seed)
    try:
        start = compare(base or model, operated.model, align=False)
        notes = [*operated.notes, *_judged(request, start)]
    except BaseException:
        operated.close()
        raise
    start = Start(start.common, start.equal, aligned)
    return Preparation(data, operated, arguments, start, inputs, generators, notes)


def arguments_for(request: Request, device: str) -> dict[str, Any]:
    """What functions may take by name, but for model, data and reporter."""
    return {
        "config": copy.deepcopy(request.config),
        "seed": request.seed,
        "features": dropped(request),
        "component": request.arm.name if request.arm.parts else None,
        "context": request.context,
        "tier": request.tier,
        "device": device,
    }


def dropped(request: Request) -> tuple[str, ...]:
    """Features that the data lacks; those that are neutralised are still there."""
    return tuple(
        name
        for part in request.arm.parts
        if isinstance(part, FeaturePart) and part.remove == "drop"
        for name in part.features
    )


def make_data(recipe: Recipe, request: Request, arguments: Mapping[str, Any]) -> Any:
    """What the data factory returns, without what the arm leaves out."""
    seed_all(derive(request.seed, "data"))
    source = recipe.tiers[request.tier].data
    data = call_by_name(source, arguments) if is_factory(source) else source
    if data is None:
        raise StudyError("the data factory returned nothing; it must return the data")
    asks = is_factory(source) and takes(source, "features")
    for part in request.arm.parts:
        if not isinstance(part, FeaturePart):
            continue
        if asks and part.remove == "drop":
            _require_gone(data, part)
            continue
        removed = Removed(part.features, part.remove, request.seed)
        data = lacking(data, removed)
        missed = [name for name in part.features if name not in removed.found]
        if missed:
            raise StudyError(
                f"the study cannot take {', '.join(map(repr, missed))} out of the "
                f"{type(data).__name__} that the data factory returns; have the "
                "factory take `features`, the names of what it is to leave out"
            )
    return data


def is_factory(source: Any) -> bool:
    """Whether it makes data or a model, rather than being it."""
    return callable(source) and not isinstance(
        source, nn.Module | Dataset | DataLoader | Tensor | Mapping
    )


def make_model(
    recipe: Recipe, request: Request, arguments: Mapping[str, Any]
) -> nn.Module:
    """The arm's model as the seed draws it."""
    for part in request.arm.parts:
        if isinstance(part, CustomModel):
            assert part.factory is not None
            more = dict(arguments)
            if takes(part.factory, "model"):
                more["model"] = base_model(recipe, request, arguments)
            return _built(part.factory, request.seed, more, part.name)
    return _built(recipe.tiers[request.tier].model, request.seed, arguments, "")


def base_model(
    recipe: Recipe, request: Request, arguments: Mapping[str, Any]
) -> nn.Module:
    """The base's model under the same seed."""
    base = {
        **arguments,
        "config": copy.deepcopy(request.base_config),
        "features": (),
        "component": None,
    }
    return _built(recipe.tiers[request.tier].model, request.seed, base, "")


def _built(
    source: Any, seed: int, arguments: Mapping[str, Any], name: str
) -> nn.Module:
    seed_all(derive(seed, "model"))
    if not is_factory(source):
        return cast(nn.Module, copy.deepcopy(source))
    model = call_by_name(source, arguments)
    if not isinstance(model, nn.Module):
        which = f"of {name!r} " if name else ""
        raise StudyError(
            f"the model factory {which}returned {type(model).__name__}, not a "
            "torch.nn.Module"
        )
    return model


def _aligns(request: Request) -> bool:
    """Whether what the arm's model shares with the base is set to the base's values."""
    if any(isinstance(part, CustomModel) for part in request.arm.parts):
        return False
    return bool(dropped(request)) or any(
        isinstance(part, FactorPart) and part.align for part in request.arm.parts
    )


def _require_gone(data: Any, part: FeaturePart) -> None:
    names = feature_names(data)
    left = [n for n in part.features if n in names and numbered(n) is None]
    if left:
        raise StudyError(
            f"the data factory was told features={part.features!r}, but what it "
            f"returned still has {', '.join(map(repr, left))}; leave out there what "
            "`features` names, or do not take `features`: then the study does it"
        )


def _judged(request: Request, start: Start) -> list[str]:
    """Notes on a start that is not equal; an error where it had to be."""
    if not start.differing:
        return []
    said = f"{start.differing} of {start.common} common parameters start different"
    parts = request.arm.parts
    if all(isinstance(part, LayerPart | FeaturePart) for part in parts):
        raise StudyError(
            f"{said} from the base's under the same seed {request.seed}: the model "
            "factory draws them otherwise each time; have it draw from torch's "
            "generator, which is seeded, or from `seed`"
        )
    if any(isinstance(part, CustomModel) for part in parts):
        return [f"{said}: it is another model"]
    return [f"{said}: the factor changes how the model is drawn (align=True keeps it)"]
