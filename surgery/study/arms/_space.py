"""AbstractSpace: one of the four places where a study finds what to leave out."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from torch import nn

from surgery.errors import StudyError
from surgery.study.arms._part import Hypothesis, Part

P = TypeVar("P", bound=Part)


@dataclass
class World:
    """What a plan knows of the study before anything is trained.

    Attributes:
        config: The base config of a context.
        model: Makes the base model as the first seed draws it; built once.
        data: What the data factory returns for the base, with nothing left out.
        asks_features: Whether the data factory takes `features`.
        base_model: The factory of the base model.
        notes: What users must know although it stops nothing; added to here.
        wrong: Mistakes, a line each; added to here.
    """

    config: Any
    model: Callable[[], nn.Module]
    data: Callable[[], Any]
    asks_features: bool
    base_model: object
    notes: list[str] = field(default_factory=list[str])
    wrong: list[str] = field(default_factory=list[str])


class AbstractSpace(ABC, Generic[P]):
    """Collects parts as the user includes them; looks them up when there is a model.

    What is included is only written down. `resolved` finds it, in a plan, before any
    training, so that all mistakes of a study are told at once.
    """

    kind: str

    def __init__(self) -> None:
        self._parts: list[P] = []
        self._excluded: list[str] = []

    def list_all(self) -> tuple[str, ...]:
        """Names of everything included so far, in order."""
        return tuple(part.name for part in self._parts)

    def exclude(self, *names: str | Sequence[str]) -> None:
        """Take back what was included, groups by their names too.

        Raises:
            StudyError: Nothing of that name is included.
        """
        for name in _flat(names, f"{self.kind}s.exclude"):
            kept = [part for part in self._parts if part.name != name]
            if len(kept) == len(self._parts) and not self._deferred(name):
                known = self.list_all()
                near = difflib.get_close_matches(name, known, n=3)
                hint = (
                    f"did you mean {' or '.join(map(repr, near))}?"
                    if near
                    else (f"there is {', '.join(map(repr, known)) or 'nothing'}")
                )
                raise StudyError(
                    f"{self.kind}s.exclude: {name!r} is not included; {hint}"
                )
            self._parts = kept
            self._excluded.append(name)

    @abstractmethod
    def resolved(self, world: World) -> tuple[P, ...]:
        """The parts that are right, each looked up; mistakes go into `world.wrong`."""

    def _deferred(self, name: str) -> bool:
        """Whether it may yet turn out to be one of those that a pattern names."""
        return False

    def _add(self, part: P) -> None:
        self._excluded = [name for name in self._excluded if name != part.name]
        if any(part.name == other.name for other in self._parts):
            if part in self._parts:
                return  # saying the same twice is no mistake
            raise StudyError(
                f"{self.kind} {part.name!r} is included already, as something else; "
                "give one of them another name: name=, or include_group(NAME, ...)"
            )
        self._parts.append(part)


def hypothesis(expect: object, why: str) -> Hypothesis:
    """The hypothesis, if it can be one."""
    if expect is None or expect in ("worse", "better"):
        return Hypothesis(expect, why)
    if isinstance(expect, int | float) and not isinstance(expect, bool):
        return Hypothesis(float(expect), why)
    raise StudyError(
        "expect= is the change that you expect, as a number such as -0.01, or "
        f"'worse' or 'better'; got {expect!r}"
    )


def _flat(names: Sequence[str | Sequence[str]], where: str) -> list[str]:
    """Texts, whether given one by one or in lists."""
    flat: list[str] = []
    for name in names:
        if isinstance(name, str | int) and not isinstance(name, bool):
            flat.append(str(name))
        elif isinstance(name, Sequence):
            flat += _flat(name, where)
        else:
            raise StudyError(
                f"{where} takes names as text, or lists of them, got "
                f"{type(name).__name__}: {name!r}"
            )
    return flat


def flat(names: Sequence[str | Sequence[str]], where: str) -> list[str]:
    """As `_flat`, and never empty."""
    found = _flat(names, where)
    if not found:
        raise StudyError(f"{where} needs at least one name, got none")
    return found


def require_known(remove: object, known: Sequence[str], space: str) -> None:
    """Raise if there is no such way to take something away."""
    if remove not in known:
        shown = ", ".join(map(repr, known))
        raise StudyError(f"{space}: remove={remove!r} is none of {shown}")


def require_one(name: str | None, groups: Sequence[object]) -> None:
    """Raise if one name is given to several groups."""
    if name is not None and len(groups) > 1:
        raise StudyError(f"name={name!r} names one group, got {len(groups)}")
