"""How much memory evaluators may take, where the user does not say."""

from __future__ import annotations

import os

import torch
from torch import nn


def default_budget(model: nn.Module) -> int:
    """A quarter of what is free where the model is."""
    first = next(model.parameters(), None)
    if first is not None and first.is_cuda:
        return torch.cuda.mem_get_info(first.device)[0] // 4
    for pages in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES"):
        try:
            return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE") // 4
        except (ValueError, OSError, AttributeError):  # this system does not say
            continue
    return 2**30


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory does not suffice, wherever the model is."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error)  # torch has no class for it on a CPU
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in text or "not enough memory" in text
    )
