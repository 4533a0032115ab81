"""How much memory evaluators may take, where the user does not say."""

from __future__ import annotations

import torch

from surgery.evaluator import default_budget as default_budget


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory does not suffice, wherever the model is."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error)  # torch has no class for it on a CPU
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in text or "not enough memory" in text
    )
