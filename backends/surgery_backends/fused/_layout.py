"""Layouts: images and the kernels of convolutions, channels last.

Convolutions over many samples at once run up to three times as fast so: the kernels of
CPUs and GPUs want channels last, and turn everything around in every call otherwise.
"""

from __future__ import annotations

from typing import Any, Final, final

import torch
from torch import Tensor, fx, nn

from surgery_backends.fused._marked import MarkedGraph, held_tensor, value_of
from surgery_backends.fused._tape import Slot, Tape

_FORMATS: Final = {4: torch.channels_last, 5: torch.channels_last_3d}
"""By the number of axes of an image, or of a kernel."""
_CONVOLUTIONS: Final = ("conv2d", "conv3d", "convolution")


@final
class ChannelsLast:
    """Has tensors of a graph channels last, those of the model laid out once.

    Args:
        model: Whose tensors they are.
        marked: Its graph.
    """

    def __init__(self, model: nn.Module, marked: MarkedGraph) -> None:
        self._model = model
        self._marked = marked
        self._kernels = {
            node for node in _kernels(marked) if not _is_laid_out(self._tensor(node))
        }
        self._copies: dict[fx.Node, Tensor] = {}

    @property
    def changes(self) -> bool:
        """Whether a program differs by it."""
        return bool(self._kernels)

    @property
    def nbytes(self) -> int:
        """Bytes of the copies of kernels."""
        return sum(self._tensor(node).nbytes for node in self._kernels)

    def held(self, node: fx.Node, tensor: Tensor) -> Tensor:
        """A tensor of the model as programs take it."""
        if node not in self._kernels:
            return tensor
        if node not in self._copies:
            self._copies[node] = tensor.detach().contiguous(
                memory_format=_FORMATS[tensor.ndim]
            )
        return self._copies[node]

    def given(self, tape: Tape, node: fx.Node, slot: Slot, nbytes: int) -> Slot:
        """An input, or a variant's own kernel, laid out in the program."""
        known = value_of(node)
        is_image = isinstance(known, Tensor) and known.ndim in _FORMATS
        if not is_image or (node in self._marked.held and node not in self._kernels):
            return slot
        kwargs = {"memory_format": _FORMATS[known.ndim]}
        return tape.call(torch.ops.aten.contiguous.default, (slot,), kwargs, nbytes)

    def _tensor(self, node: fx.Node) -> Tensor:
        return held_tensor(self._model, self._marked.held[node])


def _kernels(marked: MarkedGraph) -> set[fx.Node]:
    """The tensors of the model that convolutions take as kernels."""
    found: set[fx.Node] = set()
    for node in marked.nodes:
        name = str(getattr(node.target, "__name__", "")).partition(".")[0]
        if name in _CONVOLUTIONS:
            kernel: Any = node.args[1]
            if kernel in marked.held and value_of(kernel).ndim in _FORMATS:
                found.add(kernel)
    return found


def _is_laid_out(kernel: Tensor) -> bool:
    return kernel.is_contiguous(memory_format=_FORMATS[kernel.ndim])
