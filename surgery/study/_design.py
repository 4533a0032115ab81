"""Design: everything a user has said of a study, looked up and checked."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from surgery._random import preserved_rng
from surgery.errors import StudyError
from surgery.stats import Evidence
from surgery.study._checks import check_factories, check_parts, check_seeds
from surgery.study.arms import (
    AbstractSpace,
    Arm,
    Part,
    World,
    code_hash,
    distinctly_named,
)
from surgery.study.execution import Factories, Recipe, takes
from surgery.study.execution._preparation import (
    arguments_for,
    is_factory,
    make_data,
    make_model,
)
from surgery.study.trials import Setting, request_for

Promote: TypeAlias = Literal["all", "decided"] | int
"""Which parts go on from a tier: all, those decided, or so many of the largest."""


@dataclass(frozen=True)
class Branch:
    """One setting of a study with the parts that can be left out in it."""

    setting: Setting
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Design:
    """A study as it will be run.

    Attributes:
        recipe: What all trials have in common.
        branches: One per tier and context.
        seeds: The seeds of each arm.
        ignored: Patterns of config paths that do not determine trials.
        notes: What users must know although it stops nothing.
        promotes: What each tier but the last lets go on to the next.
        evidence: How arms are judged, where they have to be decided.
    """

    recipe: Recipe
    branches: tuple[Branch, ...]
    seeds: tuple[int, ...]
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    promotes: Mapping[str, Promote] = field(default_factory=dict[str, Promote])
    evidence: Evidence = Evidence()


def designed(
    recipe: Recipe,
    configs: Mapping[str, Any],
    spaces: Sequence[AbstractSpace[Any]],
    seeds: tuple[int, ...],
    ignored: tuple[str, ...],
    codes: Mapping[str, str],
    same_start: bool,
) -> Design:
    """Look everything up, in every context and tier, before anything is trained.

    Raises:
        StudyError: For all mistakes that were found, one line each.
    """
    notes: list[str] = []
    branches: list[Branch] = []
    wrong: list[str] = []
    with preserved_rng():
        for tier, factories in recipe.tiers.items():
            check_factories(factories, recipe)
            for context, config in configs.items():
                setting = Setting(config, context, tier, codes[tier])
                try:
                    parts = _parts(recipe, setting, spaces, seeds, same_start, notes)
                except StudyError as error:
                    where = f"in tier {tier!r}: " if tier else ""
                    where += f"in context {context!r}: " if context else ""
                    wrong += [f"{where}{line}" for line in str(error).splitlines()]
                else:
                    branches.append(Branch(setting, parts))
    if wrong:
        lines = "\n  ".join(dict.fromkeys(wrong))
        raise StudyError(
            f"the study {recipe.name!r} cannot be run as it is:\n  {lines}"
        )
    return Design(recipe, tuple(branches), seeds, ignored, tuple(dict.fromkeys(notes)))


def code_of(factories: Factories) -> str:
    """Hash of the code of a tier; what is no function has none of its own."""
    return "".join(
        code_hash(one)[:8] if callable(one) else ""
        for one in (factories.model, factories.data, factories.train)
    )


def _parts(
    recipe: Recipe,
    setting: Setting,
    spaces: Sequence[AbstractSpace[Any]],
    seeds: tuple[int, ...],
    same_start: bool,
    notes: list[str],
) -> tuple[Part, ...]:
    """All parts that exist in this setting, checked."""
    request = request_for(Arm(), seeds[0], setting)
    arguments = arguments_for(request, "cpu")
    kept: dict[str, Any] = {}

    def once(name: str, make: Any) -> Any:
        if name not in kept:
            kept[name] = make(recipe, request, arguments)
        return kept[name]

    source = recipe.tiers[setting.tier].data
    world = World(
        config=setting.config,
        model=lambda: once("model", make_model),
        data=lambda: once("data", make_data),
        asks_features=is_factory(source) and takes(source, "features"),
        base_model=recipe.tiers[setting.tier].model,
    )
    check_seeds(recipe, setting, seeds, same_start)
    found: list[Part] = []
    for space in spaces:
        found += space.resolved(world)
    parts = distinctly_named(found)
    told = check_parts(recipe, setting, parts, seeds[0], world)
    if world.wrong:
        raise StudyError("\n".join(world.wrong))
    notes += world.notes
    for warning in told:
        warnings.warn(warning, stacklevel=2)
        notes.append(warning)
    return _without_repetition(parts, setting, seeds[0], notes)


def _without_repetition(
    parts: Sequence[Part], setting: Setting, seed: int, notes: list[str]
) -> tuple[Part, ...]:
    """The parts less those that say again what another has said."""
    kept: dict[str, Part] = {}
    for part in parts:
        id = request_for(Arm((part,)), seed, setting).id
        first = kept.setdefault(id, part)
        if first is not part:
            notes.append(f"{part.name!r} is the same as {first.name!r}: it is left out")
    return tuple(kept.values())
