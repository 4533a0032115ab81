"""Batches made of others: fresh copies, samples left out, put in, or put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surgery.data._samples import batch_length, is_per_sample, rebuild, select_samples


def fresh(batch: Any) -> Any:
    """A copy whose containers and tensors may be changed without changing `batch`."""
    if isinstance(batch, Tensor):
        return batch.clone()
    if isinstance(batch, np.ndarray):
        return batch.copy()
    if isinstance(batch, (Mapping, list, tuple)):
        return rebuild(batch, fresh)
    return batch


def keep_batch(batch: Any, mask: Tensor) -> Any:
    """The samples of a batch where a mask is true; a pair is (inputs, labels)."""
    return select_samples(batch, len(mask), mask.nonzero().flatten().tolist(), True)


def put_samples(into: Any, mask: Tensor, samples: Any) -> Any:
    """`into` with its samples replaced by `samples`, in order, where a mask is true."""
    if isinstance(into, Tensor):
        if not into.ndim or len(into) != len(mask):
            return into
        changed = into.clone()
        changed[mask.to(into.device)] = samples
        return changed
    if isinstance(into, Mapping):
        pairs = {k: put_samples(v, mask, samples[k]) for k, v in into.items()}
        values = iter(pairs.values())
        return rebuild(into, lambda _: next(values))
    if isinstance(into, (list, tuple)):
        if is_per_sample(into, len(mask)):
            given = iter(samples)
            chosen = iter(mask.tolist())
            return rebuild(into, lambda item: next(given) if next(chosen) else item)
        parts = iter(samples)
        return rebuild(into, lambda item: put_samples(item, mask, next(parts)))
    return into


def join_batches(first: Any, second: Any) -> Any:
    """One batch with the samples of both."""
    if isinstance(first, Tensor):
        return torch.cat([first, second]) if first.ndim else first
    if isinstance(first, np.ndarray):
        return np.concatenate([first, second]) if first.ndim else first
    if isinstance(first, Mapping):
        pairs = iter([join_batches(first[key], second[key]) for key in first])
        return rebuild(first, lambda _: next(pairs))
    if isinstance(first, (list, tuple)):
        pair = len(first) == 2 == len(second)
        if not pair and is_per_sample(first, batch_length(first)):
            return type(first)([*first, *second])
        parts = iter(second)
        return rebuild(first, lambda item: join_batches(item, next(parts)))
    return first
