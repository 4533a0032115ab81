"""Random numbers of our own: draws that leave the caller's generators as they were."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch


def derive(seed: int, *keys: object) -> int:
    """A seed for one purpose, from the user's seed and what the purpose is called.

    Equal arguments give equal seeds on every machine; nearby ones give unrelated
    streams.
    """
    text = "\x1f".join(str(key) for key in (seed, *keys))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def seed_all(seed: int) -> None:
    """Set the global generators of torch, numpy and Python."""
    # Not `torch.manual_seed`: where CUDA is not initialised it replaces the seed that
    # the caller has queued there, which nothing gives back.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    if torch.xpu.is_initialized():
        torch.xpu.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


@contextmanager
def preserved_rng() -> Generator[None]:
    """Give back every global generator as it was, whatever happens inside."""
    python, legacy = random.getstate(), np.random.get_state()
    devices = (
        range(torch.cuda.device_count()) if torch.cuda.is_initialized() else range(0)
    )
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """Run a block under `seed`, then give the global generators back as they were."""
    with preserved_rng():
        seed_all(seed)
        yield
