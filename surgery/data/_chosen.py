"""Chosen batches: some batches of a pass, in their places, the others not loaded."""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast, final

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from surgery.errors import DataError

_LOOKED_AT = 256  # values of a tensor


@final
class Chosen:
    """One pass over batches, with `None` in the place of each that is not wanted.

    A plain DataLoader over a map-style dataset loads only what is wanted; of anything
    else all is loaded.

    Attributes:
        source: Batches.
        wanted: Tells by its number whether a batch is wanted.
        digest: Of what the pass has seen of the order of samples.
    """

    def __init__(self, source: Iterable[Any], wanted: Callable[[int], bool]) -> None:
        self.source, self.wanted = source, wanted
        self._hash = hashlib.blake2b(digest_size=16)
        refuse_dealing(source)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[Any]:
        if type(self.source) is DataLoader and self.source.batch_sampler is not None:
            yield from self._loaded_alone(self.source)
            return
        for number, batch in enumerate(self.source):
            self._hash.update(sketch(batch).encode())
            yield batch if self.wanted(number) else None

    def _loaded_alone(self, loader: DataLoader[Any]) -> Iterator[Any]:
        sampler = _Sampler(self, cast("Iterable[Any]", loader.batch_sampler))
        twin = copy.copy(loader)
        # A loader does not let its sampler be set; a copy has no iterator yet.
        object.__setattr__(twin, "batch_sampler", sampler)
        object.__setattr__(twin, "_iterator", None)
        place = 0
        for batch in twin:
            number = sampler.numbers.popleft()
            yield from (None for _ in range(place, number))
            yield batch
            place = number + 1
        yield from (None for _ in range(place, sampler.count))

    def saw(self, indices: object) -> None:
        """Take note of the samples of a batch."""
        self._hash.update(repr(indices).encode())


@final
class _Sampler:
    """A batch sampler that passes on some batches of another, and counts all."""

    def __init__(self, owner: Chosen, sampler: Iterable[Any]) -> None:
        self._owner, self._sampler = owner, sampler
        self.count = 0
        self.numbers: deque[int] = deque()

    def __iter__(self) -> Iterator[Any]:
        for number, indices in enumerate(self._sampler):
            self._owner.saw(indices)
            self.count += 1
            if self._owner.wanted(number):
                self.numbers.append(number)
                yield indices


def refuse_dealing(source: object) -> None:
    """Refuse a loader that gives each process samples of its own."""
    if not isinstance(source, DataLoader):
        return
    inner = getattr(source.batch_sampler, "sampler", None)
    if any(isinstance(s, DistributedSampler) for s in (source.sampler, inner)):
        raise DataError(
            "the DataLoader has a DistributedSampler, which gives each process samples "
            "of its own, but a ranking shares out the batches itself: give every "
            "process the same DataLoader, without that sampler"
        )


def sketch(item: Any) -> str:
    """A digest of a batch or of other tensors: shapes, and some values of each."""
    digest = hashlib.blake2b(digest_size=16)
    for text in _said(item):
        digest.update(text if isinstance(text, bytes) else text.encode())
    return digest.hexdigest()


def _said(item: Any) -> Iterator[str | bytes]:
    if isinstance(item, np.ndarray):
        yield f"{item.dtype}{item.shape}{_some(item.reshape(-1))}"
    elif isinstance(item, Tensor):
        yield f"{item.dtype}{tuple(item.shape)}"
        with contextlib.suppress(Exception):  # nested, quantised, without values, ...
            yield _some(item.detach().reshape(-1))
    elif isinstance(item, Mapping):
        for key, value in item.items():
            yield str(key)
            yield from _said(value)
    elif isinstance(item, (list, tuple)):
        yield str(len(cast("list[Any]", item)))
        for part in cast("list[Any]", item):
            yield from _said(part)
    else:
        plain = isinstance(item, (str, bytes, int, float, bool, type(None)))
        yield repr(item) if plain else type(item).__name__


def _some(flat: Any) -> str:
    return repr(flat[:: max(1, len(flat) // _LOOKED_AT)].tolist())
