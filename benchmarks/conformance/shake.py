"""Shaking: random values for what initialisation leaves at zero, one, or next to it.

At initialisation many branches are exactly zero (last BatchNorm of a block, zero
heads) or almost (layer scale 1e-6): operating on them changes nothing, and a check on
such a model proves nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

TINY = 1e-3
"""Root mean square below which a parameter counts as (almost) zero."""


@torch.no_grad()
def shake(model: nn.Module, seed: int) -> None:
    """Change every parameter and running statistic of `model`, in place.

    Tiny and constant parameters get noise of size 0.2, all others 10 % of their own;
    running means move by 0.2 and running variances lie between 0.5 and 1.5.

    Args:
        model: Any module.
        seed: Of the draws; the global generators stay as they were.
    """
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.is_floating_point():
            noise = torch.randn(parameter.shape, generator=generator)
            if _is_plain(parameter):
                parameter.add_(0.2 * noise)
            else:
                parameter.mul_(1 + 0.1 * noise)
    for name, buffer in model.named_buffers():
        match name.rpartition(".")[2]:
            case "running_mean":
                buffer.copy_(0.2 * torch.randn(buffer.shape, generator=generator))
            case "running_var":
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
            case "num_batches_tracked":
                buffer.add_(7)


def _is_plain(parameter: Tensor) -> bool:
    rms = parameter.square().mean().sqrt()
    return bool(rms < TINY) or bool((parameter == parameter.flatten()[0]).all())
