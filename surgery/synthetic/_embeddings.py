"""Class embeddings that are exactly as different as they can be."""

from __future__ import annotations

import torch
from torch import Tensor

from surgery.errors import DataError


def class_embeddings(classes: int, size: int, *, seed: int = 0) -> Tensor:
    """`classes` orthonormal vectors of `size` numbers, drawn at random.

    They are the Q of a QR decomposition, so that no two classes are alike by chance:
    what is hard about data made of them is their noise, and nothing else. Give training
    and evaluation data the same ones.

    Raises:
        DataError: There are more classes than dimensions.
    """
    if not 1 <= classes <= size:
        raise DataError(
            f"{classes} orthogonal embeddings need 1 <= classes <= size, got "
            f"size {size}"
        )
    draws = torch.Generator().manual_seed(seed)
    normal = torch.randn(size, classes, generator=draws, dtype=torch.float64)
    q, r = torch.linalg.qr(normal)
    # The signs of R's diagonal are the algorithm's choice: with them, Q is uniform.
    uniform: Tensor = q * r.diagonal().sign()
    return uniform.T.float().contiguous()
