"""Channels: which axis of an output holds them, and how many a module has."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.modules.batchnorm import (
    _NormBase,  # pyright: ignore[reportPrivateUsage]  # the base of all running norms
)
from torch.nn.modules.conv import (
    _ConvNd,  # pyright: ignore[reportPrivateUsage]  # the base of all convolutions
)


def channel_axis(module: nn.Module | None, output: Tensor) -> int:
    """The axis of `output` that holds the channels of the module that returned it.

    Where the module's type does not tell: 1 for vectors and feature maps, the last for
    tokens `(B, N, C)` and for `(B, H, W, C)` with `H == W != C`.
    """
    return channel_axis_of(module, tuple(output.shape))


def channel_axis_of(module: nn.Module | None, shape: Sequence[int]) -> int:
    """`channel_axis`, for an output of this shape."""
    rank = len(shape)
    if isinstance(module, _ConvNd):
        return max(rank - 1 - len(module.kernel_size), 0)
    # No union of types: older tracers of torch.compile, which come by here, know none.
    if isinstance(module, (_NormBase, nn.GroupNorm)):
        return min(1, rank - 1)
    if isinstance(module, nn.LayerNorm):
        return _normalised_axis(module, shape)
    if isinstance(module, (nn.Linear, nn.Bilinear, nn.Embedding, nn.EmbeddingBag)):
        return rank - 1
    if rank <= 2:
        return rank - 1
    if rank == 3:
        return 2
    channels_last = rank == 4 and shape[1] == shape[2] != shape[3]
    return 3 if channels_last else 1


def output_channels(module: nn.Module) -> int | None:
    """How many channels come out of a module, if its type tells."""
    if isinstance(module, _ConvNd):
        return module.out_channels
    if isinstance(module, _NormBase):
        return module.num_features or None  # 0 as long as it is lazy
    if isinstance(module, nn.GroupNorm):
        return module.num_channels
    if isinstance(module, nn.LayerNorm):
        return module.normalized_shape[-1]
    if isinstance(module, (nn.Linear, nn.Bilinear)):
        return module.out_features
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return module.embedding_dim
    return None


def _normalised_axis(module: nn.LayerNorm, shape: Sequence[int]) -> int:
    # Models derive from it a norm over the channels of feature maps (B, C, H, W).
    last, size = len(shape) - 1, module.normalized_shape[-1]
    if last < 2 or type(module).forward is nn.LayerNorm.forward or shape[1] != size:
        return last
    return 1 if shape[last] != size or "2d" in type(module).__name__.lower() else last
