"""Factors: what of the config is switched off or set otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from surgery.errors import StudyError
from surgery.study.arms._part import FactorPart
from surgery.study.arms._space import AbstractSpace, World, hypothesis
from surgery.study.configs import difference, get, plain, with_values

_NOT_GIVEN: Any = object()


class Factors(AbstractSpace[FactorPart]):
    """Factors of the config to switch off, or to set otherwise; see `study.factors`.

    A factor is a dotted path, such as `"loss.ranking_alpha"`, of a dict, a dataclass,
    a namespace or an OmegaConf config.
    """

    kind = "factor"

    def include(
        self,
        path: str,
        off: object = _NOT_GIVEN,
        *,
        values: Sequence[object] = (),
        when: Mapping[str, object] | None = None,
        align: bool = False,
        name: str | None = None,
        expect: object = None,
        why: str = "",
        priority: int = 0,
    ) -> None:
        """Switch off one factor, or try other values of it, one per arm.

        Args:
            path: Where it is in the config.
            off: Its value without what it stands for; `False` for what is `True`, if
                not given. A mapping replaces a whole part of the config.
            values: Several other values, an arm each.
            when: Values that the config must have for the factor to mean anything,
                as `{"optim.name": "sgd"}` for a momentum; elsewhere it has no arm.
            align: Start the parameters that the model shares with the base equal to
                the base's, also where the factor changes how the model is drawn. Not
                for factors of the initialisation itself.
            name: What the arm is called; by default the path, with the value where
                there are several.
            expect: The change of the first metric that you expect, or `"worse"`,
                `"better"`.
            why: The reason for it.
            priority: Lower ones run first.
        """
        if not isinstance(path, str) or not path:
            raise StudyError(f"factors.include takes a dotted path, got {path!r}")
        if off is not _NOT_GIVEN and values:
            raise StudyError(f"factor {path!r}: give off= or values=, not both")
        if name is not None and len(values) > 1:
            raise StudyError(f"factor {path!r}: name= names one arm, not {len(values)}")
        listed = list(values) if values else [off]
        for value in listed:
            shown = f"{path}={plain(value)}" if values else path
            self._include(
                name or shown, {path: value}, (), when, align, expect, why, priority
            )

    def include_group(
        self,
        name: str,
        values: Mapping[str, object],
        *,
        when: Mapping[str, object] | None = None,
        align: bool = False,
        expect: object = None,
        why: str = "",
        priority: int = 0,
    ) -> None:
        """Change several factors together, under a name.

        Args:
            name: What the arm is called.
            values: The other value of each path.
        """
        if not isinstance(values, Mapping) or not values:
            raise StudyError(
                f"factors.include_group({name!r}, ...) takes the other value of each "
                f"path, as {{'optim.weight_decay': 0.0}}; got {values!r}"
            )
        self._include(
            name, dict(values), tuple(values), when, align, expect, why, priority
        )

    def include_groups(self, **groups: Mapping[str, object]) -> None:
        """Several groups of factors, each under the name of its keyword."""
        for name, values in groups.items():
            self.include_group(name, values)

    def include_difference(self, config: object, *, priority: int = 0) -> None:
        """Every value in which another config differs from the base, one per arm.

        What a path from one config to another walks over.
        """
        self._others.append((config, priority))

    def __init__(self) -> None:
        super().__init__()
        self._others: list[tuple[object, int]] = []

    def resolved(self, world: World) -> tuple[FactorPart, ...]:
        found: list[FactorPart] = []
        for part in [*self._parts, *self._different(world.config)]:
            try:
                made = _looked_up(part, world)
            except StudyError as error:
                world.wrong.append(f"factor {part.name!r}: {error}")
            else:
                found += [] if made is None else [made]
        return tuple(found)

    def _different(self, config: Any) -> list[FactorPart]:
        parts: list[FactorPart] = []
        for other, priority in self._others:
            for path, (_, value) in difference(config, other).items():
                parts.append(FactorPart(path, {path: value}, priority=priority))
        return parts

    def _include(
        self,
        name: str,
        values: Mapping[str, object],
        group: tuple[str, ...],
        when: Mapping[str, object] | None,
        align: bool,
        expect: object,
        why: str,
        priority: int,
    ) -> None:
        self._add(
            FactorPart(
                name,
                dict(values),
                dict(when or {}),
                align,
                group=group,
                priority=priority,
                hypothesis=hypothesis(expect, why),
            )
        )


def _looked_up(part: FactorPart, world: World) -> FactorPart | None:
    """The part with all its values; `None` where its condition does not hold."""
    if not applies(part, world.config):
        conditions = ", ".join(f"{p} = {plain(v)}" for p, v in part.when.items())
        world.notes.append(
            f"factor {part.name!r} has no arm: the config does not have {conditions}"
        )
        return None
    values = {
        path: _off(world.config, path) if value is _NOT_GIVEN else value
        for path, value in part.values.items()
    }
    with_values(world.config, values)  # raises where there is nothing at a path
    if part.group and len(values) == 1:
        world.notes.append(
            f"the factor group {part.name!r} has one element, {next(iter(values))!r}"
        )
    return replace(part, values=values)


def applies(part: FactorPart, config: object) -> bool:
    """Whether the config has the values that the part's condition names.

    Raises:
        StudyError: The config has nothing at a path of the condition.
    """
    return all(
        plain(get(config, path)) == plain(value) for path, value in part.when.items()
    )


def _off(config: object, path: str) -> object:
    value = get(config, path)
    if value is True:
        return False
    raise StudyError(
        f"what is its value when off? The config has {value!r}; write "
        f"factors.include({path!r}, off=...)"
    )
