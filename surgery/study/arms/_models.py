"""Models: other models in the place of the base model."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from surgery.errors import StudyError
from surgery.study.arms._code import code_hash
from surgery.study.arms._part import CustomModel
from surgery.study.arms._space import AbstractSpace, World, hypothesis


class Models(AbstractSpace[CustomModel]):
    """Other models to train in the place of the base model; see `study.models`."""

    kind = "model"

    def include(
        self,
        name: str,
        factory: Callable[..., nn.Module],
        *,
        expect: object = None,
        why: str = "",
        priority: int = 0,
    ) -> None:
        """Train another model under the name.

        Args:
            name: What the arm is called.
            factory: Makes it. Takes, by name, what it needs of what factories take;
                also `model`, the base model as the seed draws it.
            expect: The change of the first metric that you expect, or `"worse"`,
                `"better"`.
            why: The reason for it.
            priority: Lower ones run first.
        """
        if not isinstance(name, str) or not name:
            raise StudyError(f"models.include takes a name first, got {name!r}")
        if isinstance(factory, nn.Module) or not callable(factory):
            raise StudyError(
                f"model {name!r}: give a function that makes it, so that every trial "
                f"gets a fresh one; got {type(factory).__name__}"
            )
        self._add(
            CustomModel(
                name,
                factory,
                code_hash(factory),
                priority=priority,
                hypothesis=hypothesis(expect, why),
            )
        )

    def include_groups(self, **models: Callable[..., nn.Module]) -> None:
        """Several models, each under the name of its keyword."""
        for name, factory in models.items():
            self.include(name, factory)

    def resolved(self, world: World) -> tuple[CustomModel, ...]:
        world.wrong += [
            f"model {part.name!r} is identical to the base: it has the same factory"
            for part in self._parts
            if part.factory is world.base_model
        ]
        return tuple(self._parts)
