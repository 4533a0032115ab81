"""Checks before anything is trained: factories, seeds, and every part by itself."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from torch import nn

from surgery.errors import StudyError, SurgeryError
from surgery.study.arms import (
    Arm,
    CustomModel,
    FactorPart,
    FeaturePart,
    LayerPart,
    Part,
    World,
)
from surgery.study.columns import Removed, lacking
from surgery.study.execution import Factories, Recipe, check_parameters
from surgery.study.execution._example import example_inputs
from surgery.study.execution._operate import equal, operate, state_of
from surgery.study.execution._preparation import arguments_for, is_factory, make_model
from surgery.study.trials import Request, Setting, request_for


def check_factories(factories: Factories, recipe: Recipe) -> None:
    """Raise if a function requires an argument that nobody gives it."""
    for role in ("model", "data", "train"):
        function = getattr(factories, role)
        if role == "train" and not callable(function):
            raise StudyError(
                f"train= takes the function that trains, got {type(function).__name__}"
            )
        if role == "train" or is_factory(function):
            check_parameters(function, role)
    if callable(recipe.inputs) and is_factory(recipe.inputs):
        check_parameters(recipe.inputs, "inputs")


def check_seeds(
    recipe: Recipe, setting: Setting, seeds: Sequence[int], same_start: bool
) -> None:
    """Raise if the model factory heeds no seed, or nothing but chance."""
    source = recipe.tiers[setting.tier].model
    if not is_factory(source):
        return  # an instance: every trial begins with a copy of it, and says so
    first = _drawn(recipe, setting, seeds[0])
    again = _drawn(recipe, setting, seeds[0])
    if differing := _differing(first, again):
        raise StudyError(
            f"the model factory draws other parameters each time under the same seed "
            f"({', '.join(differing[:3])}): arms could not be compared; have it draw "
            "from torch's generator, which the study seeds, or from `seed`"
        )
    if len(seeds) < 2 or same_start:
        return
    other = _drawn(recipe, setting, seeds[1])
    if state_of(first) and not _differing(first, other):
        raise StudyError(
            f"the model factory ignores its seed: seeds {seeds[0]} and {seeds[1]} give "
            "the same parameters, so that seeds would repeat one run; do not set a "
            "seed inside it, or, if models are to start from the same (pretrained) "
            "weights, write Study(same_start=True)"
        )


def check_parts(
    recipe: Recipe,
    setting: Setting,
    parts: Sequence[Part],
    seed: int,
    world: World,
) -> list[str]:
    """Try every part as its trial will; mistakes go into `world.wrong`.

    Returns:
        What is to be warned of.
    """
    base = request_for(Arm(), seed, setting)
    told: list[str] = []
    for part in parts:
        request = request_for(Arm((part,)), seed, setting)
        try:
            match part:
                case LayerPart():
                    _check_layer(recipe, request, part, world)
                case FeaturePart():
                    _check_feature(part, world)
                case FactorPart() if request.id == base.id:
                    raise StudyError(
                        f"factor {part.name!r} is identical to the base: the config "
                        f"has {part.described()} already"
                    )
                case CustomModel():
                    assert part.factory is not None
                    check_parameters(part.factory, "custom model")
                case _:
                    pass
        except SurgeryError as error:
            world.wrong += str(error).splitlines()
    layers = [part for part in parts if isinstance(part, LayerPart)]
    if layers and not world.wrong:
        told += _shared(world.model(), layers)
    return told


def _drawn(recipe: Recipe, setting: Setting, seed: int) -> nn.Module:
    request = request_for(Arm(), seed, setting)
    return make_model(recipe, request, arguments_for(request, "cpu"))


def _differing(one: nn.Module, other: nn.Module) -> list[str]:
    ours, theirs = state_of(one), state_of(other)
    return [n for n in ours if n not in theirs or not equal(ours[n], theirs[n])]


def _check_layer(
    recipe: Recipe, request: Request, part: LayerPart, world: World
) -> None:
    arguments = arguments_for(request, "cpu")
    inputs = example_inputs(recipe, world.data(), arguments, "cpu")
    model = make_model(recipe, request, arguments)
    same = part.remove in ("excise", "identity") and _passes_on(model, part)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the trial will say them
            operated = operate(model, [part], inputs, request.seed)
    except SurgeryError as error:
        raise StudyError(f"layer {part.name!r}: {error}") from error
    try:
        world.notes += operated.notes
        if part.remove == "freeze":
            same = not operated.frozen
        if same:
            raise StudyError(
                f"layer {part.name!r} is identical to the base: remove={part.remove!r} "
                "changes nothing in it"
            )
    finally:
        operated.close()


def _passes_on(model: nn.Module, part: LayerPart) -> bool:
    """Whether all that a part names gives back its input as it is."""
    modules: dict[str, nn.Module] = dict(model.named_modules())
    found: list[Any] = [modules.get(target) for target in part.targets]
    return all(
        isinstance(module, nn.Identity)
        or (isinstance(module, nn.Dropout) and module.p == 0)
        for module in found
    )


def _check_feature(part: FeaturePart, world: World) -> None:
    if world.asks_features and part.remove == "drop":
        return  # the factory does it; each trial looks at what it returned
    removed = Removed(part.features, part.remove)
    lacking(world.data(), removed)
    missed = [name for name in part.features if name not in removed.found]
    if missed:
        raise StudyError(
            f"the study cannot take feature {', '.join(map(repr, missed))} out of the "
            f"{type(world.data()).__name__} that the data factory returns; have the "
            "factory take `features`, the names of what it is to leave out"
        )


def _shared(model: nn.Module, parts: Sequence[LayerPart]) -> list[str]:
    """Weights that a part shares with what it does not hold."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    told: list[str] = []
    for part in parts:
        inside = tuple(f"{target}." for target in part.targets)
        for shared in names.values():
            ours = [n for n in shared if n.startswith(inside) or n in part.targets]
            others = [n for n in shared if n not in ours]
            if ours and others:
                told.append(
                    f"layer {part.name!r} shares weights with the rest of the model: "
                    f"{ours[0]} is {others[0]}, which stays and trains on"
                )
    return told
