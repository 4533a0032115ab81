"""Layers: what of the model is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import get_args

from torch import nn

from surgery.errors import StudyError, SurgeryError
from surgery.study.arms._part import LayerPart, Removal
from surgery.study.arms._space import (
    AbstractSpace,
    World,
    flat,
    hypothesis,
    require_known,
    require_one,
)
from surgery.targets import resolve_each, resolve_group

_PREFIX = "prefix:"  # what a part's target says until the model is known


class Layers(AbstractSpace[LayerPart]):
    """Layers, blocks, branches, heads of the model to leave out; see `study.layers`.

    Everything that has a target can be left out; a target that matches several
    components stands for one arm each, in a group for all of them together.
    """

    kind = "layer"

    def include(
        self,
        *targets: str | Sequence[str],
        remove: Removal = "excise",
        expect: object = None,
        why: str = "",
        priority: int = 0,
    ) -> None:
        """Leave out each of these, one per arm.

        Args:
            targets: Targets, such as `"fc2"`, `"layer*.*"`, `"layer3.0:branch"`, or
                lists of them; a range, `"layer2.1..layer3.0"`, is one arm.
            remove: `"excise"`: the model is built without it (its input goes on in its
                place, through an adapter where shapes differ; a branch, a skip or a
                head is cut); `"identity"`, `"zero"`: its output is held so throughout;
                `"freeze"`: it keeps the values that it was drawn with.
            expect: The change of the first metric that you expect, or `"worse"`,
                `"better"`.
            why: The reason for it.
            priority: Lower ones run first.
        """
        for target in flat(targets, "layers.include"):
            self._include(target, (target,), (), remove, expect, why, priority)

    def include_groups(
        self,
        *groups: str | Sequence[str],
        prefix: str | None = None,
        pattern: str | None = None,
        remove: Removal = "excise",
        name: str | None = None,
        expect: object = None,
        why: str = "",
        priority: int = 0,
    ) -> None:
        """Leave out the layers of each group together.

        Args:
            groups: Lists of targets; a range is a group too.
            prefix: One group more: all modules whose name starts so.
            pattern: One group more: everything that this target matches.
            name: What the group is called; only if there is one.
        """
        wanted: list[tuple[str, tuple[str, ...]]] = []
        for group in groups:
            if isinstance(group, str) and ".." not in group:
                raise StudyError(
                    f"layers.include_groups takes lists of targets or ranges, got "
                    f"{group!r}; write include_groups([{group!r}, ...]), "
                    f"pattern={group!r}, or layers.include for one layer"
                )
            members = tuple(flat([group], "layers.include_groups"))
            wanted.append((" + ".join(members), members))
        if prefix is not None:
            wanted.append((f"{prefix}*", (f"{_PREFIX}{prefix}",)))
        if pattern is not None:
            wanted.append((pattern, (pattern,)))
        if not wanted:
            raise StudyError(
                "layers.include_groups needs a list of targets, a prefix= or a pattern="
            )
        require_one(name, wanted)
        for title, members in wanted:
            self._include(
                name or title, members, members, remove, expect, why, priority
            )

    def include_group(
        self,
        name: str,
        members: Sequence[str],
        *,
        remove: Removal = "excise",
        expect: object = None,
        why: str = "",
        priority: int = 0,
    ) -> None:
        """Leave out these layers together, under a name."""
        self.include_groups(
            members,
            remove=remove,
            name=name,
            expect=expect,
            why=why,
            priority=priority,
        )

    def resolved(self, world: World) -> tuple[LayerPart, ...]:
        if not self._parts:
            return ()
        model = world.model()
        found: dict[str, LayerPart] = {}
        for part in self._parts:
            try:
                for name, members in _found(model, part):
                    found.setdefault(name, replace(part, name=name, targets=members))
            except SurgeryError as error:
                world.wrong.append(
                    f"{part.name!r}: {error}" if part.group else str(error)
                )
        for name in self._excluded:
            found.pop(name, None)
        for part in found.values():
            if part.group and len(part.targets) == 1:
                world.notes.append(
                    f"the layer group {part.name!r} has one element, "
                    f"{part.targets[0]!r}"
                )
        return tuple(found.values())

    def _deferred(self, name: str) -> bool:
        return any(
            "*" in t or t.startswith("re:") for p in self._parts for t in p.targets
        )

    def _include(
        self,
        name: str,
        targets: tuple[str, ...],
        group: tuple[str, ...],
        remove: Removal,
        expect: object,
        why: str,
        priority: int,
    ) -> None:
        require_known(remove, get_args(Removal), "layers")
        self._add(
            LayerPart(
                name,
                targets,
                remove,
                group=group,
                priority=priority,
                hypothesis=hypothesis(expect, why),
            )
        )


def _found(model: nn.Module, part: LayerPart) -> Sequence[tuple[str, tuple[str, ...]]]:
    """The arms that a part stands for: the name of each and its targets."""
    targets = [named for t in part.targets for named in _spelled(model, t)]
    if part.group:
        members = resolve_group(model, targets, called_only=False)
        return [(part.name, tuple(map(str, members)))]
    rows = resolve_each(model, targets, called_only=part.remove != "freeze")
    # A range stays one target: its own name says all of it.
    return [
        (name, tuple(map(str, members)) if ".." not in name else (name,))
        for name, members in rows
    ]


def _spelled(model: nn.Module, target: str) -> list[str]:
    if not target.startswith(_PREFIX):
        return [target]
    prefix = target.removeprefix(_PREFIX)
    names = [name for name, _ in model.named_modules() if name]
    matches: Callable[[str], bool] = lambda name: name.startswith(prefix)  # noqa: E731
    if not any(map(matches, names)):
        matches = lambda name: name.lower().startswith(prefix.lower())  # noqa: E731
    found = [name for name in names if matches(name)]
    if not found:
        tops = ", ".join(dict.fromkeys(name.split(".")[0] for name in names))
        raise StudyError(f"no layer's name starts with {prefix!r}; there are {tops}")
    outer = set(found)
    return [
        name
        for name in found
        if not any(
            ".".join(name.split(".")[:depth]) in outer
            for depth in range(1, name.count(".") + 1)
        )
    ]
