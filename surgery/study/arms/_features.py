"""Features: what of the data is left out."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

from surgery.errors import StudyError
from surgery.study.arms._part import FeaturePart, NeutralFeature
from surgery.study.arms._space import (
    AbstractSpace,
    World,
    flat,
    hypothesis,
    require_known,
    require_one,
)
from surgery.study.columns import feature_names


class Features(AbstractSpace[FeaturePart]):
    """Features of the dataset to leave out; see `study.features`.

    A feature is a column of a frame, a key of a mapping, `feature#3` (the fourth entry
    of the last axis of an array) or `channel#0` (the first of axis 1).
    """

    kind = "feature"

    def include(
        self,
        *names: str | int | Sequence[str | int],
        remove: NeutralFeature = "drop",
        expect: object = None,
        why: str = "",
        priority: int = 0,
    ) -> None:
        """Leave out each of these features, one per arm.

        Args:
            names: Names, or lists of them; `*` in a name matches several. A number is
                a column of an array.
            remove: `"drop"`, or `"zero"`, `"mean"`, `"shuffle"` to leave it in place
                without what it tells.
            expect: The change of the first metric that you expect, or `"worse"`,
                `"better"`.
            why: The reason for it.
            priority: Lower ones run first.
        """
        for name in flat(_texts(names), "features.include"):
            self._include(name, (name,), (), remove, expect, why, priority)

    def include_groups(
        self,
        *groups: Sequence[str | int],
        prefix: str | None = None,
        remove: NeutralFeature = "drop",
        name: str | None = None,
        expect: object = None,
        why: str = "",
        priority: int = 0,
    ) -> None:
        """Leave out the features of each group together.

        Args:
            groups: Lists of names.
            prefix: One group more: all features whose name starts so.
            name: What the group is called; only if there is one.
        """
        wanted = _groups(groups, prefix, name)
        for members in wanted:
            title = name or " + ".join(members)
            self._include(title, members, members, remove, expect, why, priority)

    def include_group(
        self,
        name: str,
        members: Sequence[str | int],
        *,
        remove: NeutralFeature = "drop",
        expect: object = None,
        why: str = "",
        priority: int = 0,
    ) -> None:
        """Leave out these features together, under a name."""
        self.include_groups(
            members,
            remove=remove,
            name=name,
            expect=expect,
            why=why,
            priority=priority,
        )

    def resolved(self, world: World) -> tuple[FeaturePart, ...]:
        if not self._parts:
            return ()
        known = feature_names(world.data())
        if world.asks_features and not known:
            world.notes.append(
                "the data factory takes `features` and returns data whose features "
                "have no names: what it leaves out cannot be checked"
            )
            return tuple(self._parts)
        found: dict[str, FeaturePart] = {}
        for part in self._parts:
            members = tuple(
                dict.fromkeys(
                    member
                    for pattern in part.features
                    for member in _matching(pattern, known, part.group, world.wrong)
                )
            )
            if part.group and len(members) == 1:
                world.notes.append(
                    f"the feature group {part.name!r} has one element, {members[0]!r}"
                )
            arms = (
                [(part.name, members)] if part.group else [(m, (m,)) for m in members]
            )
            for name, features in arms:
                found.setdefault(name, replace(part, name=name, features=features))
        left = [p for n, p in found.items() if n not in self._excluded]
        return tuple(left)

    def _deferred(self, name: str) -> bool:
        return any(
            fnmatch.fnmatchcase(name, member)
            for p in self._parts
            for member in p.features
        )

    def _include(
        self,
        name: str,
        features: tuple[str, ...],
        group: tuple[str, ...],
        remove: NeutralFeature,
        expect: object,
        why: str,
        priority: int,
    ) -> None:
        require_known(remove, get_args(NeutralFeature), "features")
        self._add(
            FeaturePart(
                name,
                features,
                remove,
                group=group,
                priority=priority,
                hypothesis=hypothesis(expect, why),
            )
        )


def _texts(names: Sequence[object]) -> Sequence[str | Sequence[str]]:
    """Numbers are columns of arrays."""
    texts: list[str | Sequence[str]] = []
    for name in names:
        if isinstance(name, int) and not isinstance(name, bool):
            texts.append(f"feature#{name}")
        elif isinstance(name, Sequence) and not isinstance(name, str):
            texts.append(list(_texts(name)))  # type: ignore[arg-type] # pyright: ignore
        else:
            texts.append(name)  # type: ignore[arg-type] # pyright: ignore
    return texts


def _groups(
    groups: Sequence[object], prefix: str | None, name: str | None
) -> list[tuple[str, ...]]:
    wanted: list[tuple[str, ...]] = []
    for members in groups:
        if isinstance(members, str) or not isinstance(members, Sequence):
            raise StudyError(
                f"features.include_groups takes lists of names, got {members!r}; write "
                f"include_groups([{members!r}, ...]), or features.include for one"
            )
        wanted.append(tuple(flat(_texts(members), "features.include_groups")))
    if prefix is not None:
        wanted.append((f"{prefix}*",))
    if not wanted:
        raise StudyError("features.include_groups needs a list of names or a prefix=")
    require_one(name, wanted)
    return wanted


def _matching(
    pattern: str, known: Sequence[str], group: tuple[str, ...], wrong: list[str]
) -> list[str]:
    """The known features of that name or pattern; if none, a line in `wrong`."""
    if pattern in known:
        return [pattern]
    matched = [name for name in known if fnmatch.fnmatchcase(name, pattern)]
    if not matched:
        near = difflib.get_close_matches(pattern, known, n=3)
        hint = (
            f"did you mean {' or '.join(map(repr, near))}?"
            if near
            else (f"it has {', '.join(known[:12]) or 'none that has a name'}")
        )
        inside = f" (of the group {' + '.join(group)})" if len(group) > 1 else ""
        wrong.append(f"the data has no feature {pattern!r}{inside}; {hint}")
    return matched
