"""Metrics out of what a user gives: names, torchmetrics, functions, lists, groups."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from typing import Any, cast, final

from surgery.engine._block_metric import BlockMetric
from surgery.engine._callable import CallableMetric
from surgery.engine._feeds import GivenFeed
from surgery.engine._metric import AbstractMetric as AbstractMetric
from surgery.engine._metric import AbstractOutcome as AbstractOutcome
from surgery.engine._named import named_direction, named_metric
from surgery.errors import DataError

Directions = bool | Mapping[str, bool] | None


def make_metrics(
    metric: object, higher_is_better: Directions = None
) -> tuple[AbstractMetric, ...]:
    """Make the metrics of a sweep.

    Args:
        metric: A name, a `torchmetrics.Metric`, a callable `(outputs, labels)`, a
            list of these, or a dict of them, or of lists of them, by group.
        higher_is_better: Direction of metrics that do not know their own; as a dict,
            the direction of each by name, which holds even for those that know.
    """
    if not (higher_is_better is None or isinstance(higher_is_better, (bool, Mapping))):
        raise DataError(
            f"higher_is_better is {higher_is_better!r}; give True, False, or a dict "
            "of these by the metric's name"
        )
    given = [
        (group, name, item)
        for group, items in _groups(metric).items()
        for name, item in _with_names(items)
    ]
    directions = _Directions(higher_is_better, given)
    return tuple(_make(*one, directions) for one in given)


@final
class _Directions:
    """Who is told which direction.

    Attributes:
        inner: Those for names that only the first batch or result will show, of
            functions and metrics that give a dict.
    """

    def __init__(self, given: Directions, metrics: list[tuple[str, str, Any]]) -> None:
        self._all = given if isinstance(given, bool) else None
        self._by_name = dict(given) if isinstance(given, Mapping) else {}
        names = {name for _, name, _ in metrics}
        self.inner = {
            name: higher for name, higher in self._by_name.items() if name not in names
        }
        if self.inner and all(isinstance(item, str) for _, _, item in metrics):
            raise DataError(
                f"higher_is_better names {sorted(self.inner)}, but the metrics are "
                f"{sorted(names)}; use their names"
            )

    def known(self, name: str, own: bool) -> bool:
        """Direction of a metric that knows its own."""
        if self._all is not None and self._all != own:
            raise DataError(
                f"higher_is_better={self._all} contradicts the metric {name!r}, for "
                f"which {'higher' if own else 'lower'} is better; leave it out, or "
                f"insist: higher_is_better={{{name!r}: {self._all}}}"
            )
        return self._by_name.get(name, own)

    def asked(self, name: str) -> bool | Mapping[str, bool]:
        """Direction of a metric that does not."""
        if self._all is not None:
            return self._all
        if name in self._by_name:
            return self._by_name[name]
        if not self.inner:
            raise DataError(
                f"{name!r} does not say whether higher is better; give "
                f"higher_is_better=True or False, or {{{name!r}: True}}"
            )
        return self.inner


def _make(group: str, name: str, item: Any, directions: _Directions) -> AbstractMetric:
    if isinstance(item, str):
        return named_metric(item, group, directions.known(item, named_direction(item)))
    if _is_torchmetrics(item, "Metric"):
        own = item.higher_is_better
        higher = directions.asked(name) if own is None else directions.known(name, own)
        return BlockMetric(name, group, higher, GivenFeed(item), directions.inner)
    return CallableMetric(name, group, directions.asked(name), item)


def _groups(metric: object) -> dict[str, list[tuple[str | None, Any]]]:
    """Metrics by group, each with the name it was given, if it was."""
    if isinstance(metric, Mapping) and not _is_torchmetrics(metric, "MetricCollection"):
        groups = cast("Mapping[Any, object]", metric)
        if not groups:
            raise DataError("metric is an empty dict; give at least one metric")
        return {str(group): _listed(items) for group, items in groups.items()}
    return {"": _listed(metric)}


def _listed(items: object) -> list[tuple[str | None, Any]]:
    if isinstance(items, (list, tuple)):
        several = cast("list[object]", items)
        if not several:
            raise DataError("metric is an empty list; give at least one metric")
        return [found for item in several for found in _members(item)]
    return _members(items)


def _members(item: Any) -> list[tuple[str | None, Any]]:
    if _is_torchmetrics(item, "MetricCollection"):
        # Members of a collection share states; copies do not.
        return list(item.clone().items(keep_base=True, copy_state=True))
    if isinstance(item, type) and hasattr(item, "add_state"):
        raise DataError(
            f"metric is the class {item.__name__}; give an object: {item.__name__}(...)"
        )
    if not (isinstance(item, str) or callable(item)):
        raise DataError(
            f"a metric of type {type(item).__name__}; give a name such as 'accuracy', "
            "a torchmetrics metric, a callable (outputs, labels), or a list or dict "
            "of these"
        )
    return [(None, item)]


def _with_names(items: list[tuple[str | None, Any]]) -> list[tuple[str, Any]]:
    named: list[tuple[str, Any]] = []
    for given, item in items:
        wanted = given or _name(item)
        same = sum(1 for name, _ in named if name.partition("#")[0] == wanted)
        if same and isinstance(item, str):
            raise DataError(f"the metric {item!r} is listed twice; list it once")
        named.append((f"{wanted}#{same + 1}" if same else wanted, item))
    return named


def _name(item: Any) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, functools.partial):
        return _name(item.func)
    name = str(getattr(item, "__name__", type(item).__name__))
    return "metric" if name == "<lambda>" else name


def _is_torchmetrics(item: object, kind: str) -> bool:
    # Who has such an object has imported torchmetrics; the import takes seconds.
    module = sys.modules.get("torchmetrics")
    return module is not None and isinstance(item, getattr(module, kind))
