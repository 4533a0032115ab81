"""TwoHeads: two objectives, and no parameter that both depend on."""

from __future__ import annotations

from torch import Tensor, nn


class _Head(nn.Module):
    """Two convolutions over time, that see 5 frames; padding stays out of it."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(inputs, hidden, 3, padding=1)
        self.last = nn.Conv1d(hidden, outputs, 3, padding=1)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        hidden = self.first(frames.transpose(1, 2)).relu() * mask[:, None]
        out: Tensor = self.last(hidden).transpose(1, 2)
        return out


class TwoHeads(nn.Module):
    """Says of every frame which class it is of, and whether a segment begins there.

    The heads are decoupled: freezing one cannot change what the other learns, which
    makes the three variants (both, either one frozen) a test of a study as well.

    Attributes:
        classes: The head whose outputs are `(n, length, classes)` logits.
        boundaries: The head whose outputs are `(n, length)` logits.
    """

    def __init__(self, inputs: int, classes: int, hidden: int = 32) -> None:
        super().__init__()
        self.classes = _Head(inputs, hidden, classes)
        self.boundaries = _Head(inputs, hidden, 1)

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        classes: Tensor = self.classes(frames, mask)
        boundaries: Tensor = self.boundaries(frames, mask)
        return classes, boundaries[..., 0]
