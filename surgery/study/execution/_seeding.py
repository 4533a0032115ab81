"""Seeds of a trial: the same for all arms, whatever each of them draws."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch.utils.data import DataLoader

from surgery._random import derive
from surgery.study.columns import is_record, rebuilt


def order_seeded(
    data: Any, seed: int, *, fresh: bool
) -> tuple[Any, list[torch.Generator]]:
    """The data, whose DataLoaders draw their order from generators of their own.

    Otherwise they would draw from the global one, together with dropout: an arm
    without a dropout layer would see the samples in another order than the base.

    Args:
        data: Whatever it is; what is given is not changed.
        seed: The trial's.
        fresh: Whether it was made for this trial; else generators that a user put into
            it have been used by other trials, and are replaced too.

    Returns:
        The data and those generators, in order.
    """
    seeding = _Seeding(seed, fresh)
    return seeding.of(data), seeding.generators


class _Seeding:
    def __init__(self, seed: int, fresh: bool) -> None:
        self.generators: list[torch.Generator] = []
        self._seed = seed
        self._fresh = fresh

    def of(self, data: Any) -> Any:
        if isinstance(data, DataLoader):
            return self._loader(data)
        if not _has_loader(data):
            return data
        if is_record(data):
            names = [f.name for f in dataclasses.fields(data) if f.init]
            seeded = {name: self.of(getattr(data, name)) for name in names}
            return dataclasses.replace(data, **seeded)
        if isinstance(data, Mapping):
            items = data.items()
            return {key: self.of(item) for key, item in items}
        return rebuilt(data, [self.of(item) for item in cast("list[Any]", data)])

    def _loader(self, loader: DataLoader[Any]) -> DataLoader[Any]:
        if loader.generator is not None and self._fresh:
            self.generators.append(loader.generator)  # the user's own order
            return loader
        own = torch.Generator()
        own.manual_seed(derive(self._seed, "loader", len(self.generators)))
        self.generators.append(own)
        changed = copy.copy(loader)
        changed.generator = own
        _draw_from(changed, own)
        return changed


def _draw_from(loader: DataLoader[Any], own: torch.Generator) -> None:
    """Have the loader's sampler, where it has a generator, use this one."""
    sampler = cast("Any", loader.sampler)
    if not hasattr(sampler, "generator"):
        return
    sampler = copy.copy(sampler)
    sampler.generator = own
    batches = copy.copy(cast("Any", loader.batch_sampler))
    if batches is not None and hasattr(batches, "sampler"):
        batches.sampler = sampler
    # A loader refuses to have these set once it is made; this one is a copy that
    # nobody has seen.
    vars(loader).update(sampler=sampler, batch_sampler=batches)


def _has_loader(data: Any) -> bool:
    if isinstance(data, DataLoader):
        return True
    if isinstance(data, Mapping):
        return any(map(_has_loader, data.values()))
    if isinstance(data, list | tuple):
        return any(map(_has_loader, cast("list[Any]", data)))
    if is_record(data):
        fields = dataclasses.fields(data)
        return any(_has_loader(getattr(data, field.name)) for field in fields)
    return False
