"""Sequences of segments: in each frame the class that holds there, under noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from surgery._random import derive
from surgery.errors import DataError


@dataclass(frozen=True)
class Sequences:
    """Sequences of different lengths.

    Attributes:
        frames: One `(length, size)` tensor each.
        classes: The class of every frame, `(length,)` each.
    """

    frames: tuple[Tensor, ...]
    classes: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.frames)

    def boundaries(self, index: int) -> Tensor:
        """Which frames begin a segment, the first one included."""
        return starts(self.classes[index])


@dataclass(frozen=True)
class Batch:
    """Sequences filled up with zeros to the longest one.

    Attributes:
        frames: `(n, length, size)`.
        classes: `(n, length)`.
        boundaries: `(n, length)`: which frames begin a segment.
        mask: `(n, length)`: which frames are any.
    """

    frames: Tensor
    classes: Tensor
    boundaries: Tensor
    mask: Tensor


def starts(classes: Tensor) -> Tensor:
    """Which frames differ from the one before; the first one does."""
    first = torch.ones(min(len(classes), 1), dtype=torch.bool)
    return torch.cat([first, classes[1:] != classes[:-1]])


def noisy_sequences(
    exemplars: Tensor | list[Tensor],
    n: int,
    *,
    noise: float,
    seed: int = 0,
    length: tuple[int, int] = (16, 40),
    segment: tuple[int, int] = (3, 8),
) -> Sequences:
    """Draws sequences of segments, each of another class than the one before.

    Args:
        exemplars: An embedding per class, `(classes, size)`; or for each class several
            of which every frame shows one, a list of `(count, size)`.
        n: How many sequences.
        noise: Standard deviation of the normal noise added, times the root of the
            size: 1 is noise as long as an embedding of length 1.
        seed: Sets segments and noise. Evaluation data have another seed than training
            data, and the same exemplars.
        length: Fewest and most frames of a sequence.
        segment: Fewest and most frames of a segment; the last one may be cut short.

    Raises:
        DataError: A number makes no sense.
    """
    choices = [row[None] if row.ndim == 1 else row for row in exemplars]
    if len(choices) < 2 or noise < 0 or length[0] < 1 or segment[0] < 1:
        raise DataError(
            "sequences need two classes or more, noise of 0 or more, and lengths of 1 "
            f"or more; got {len(choices)} classes, noise {noise}, length {length}, "
            f"segment {segment}"
        )
    size = choices[0].shape[1]
    draws = torch.Generator().manual_seed(derive(seed, "sequences"))
    frames: list[Tensor] = []
    classes: list[Tensor] = []
    for _ in range(n):
        total = _between(*length, draws)
        labels: list[int] = []
        while len(labels) < total:
            others = [c for c in range(len(choices)) if not labels or c != labels[-1]]
            chosen = others[_between(0, len(others) - 1, draws)]
            labels += [chosen] * _between(*segment, draws)
        labels = labels[:total]
        clean = torch.stack(
            [choices[c][_between(0, len(choices[c]) - 1, draws)] for c in labels]
        )
        # Drawn at every level, so that sequences of one seed differ only in its scale.
        unit = torch.randn(total, size, generator=draws)
        frames.append(clean + noise / size**0.5 * unit)
        classes.append(torch.tensor(labels))
    return Sequences(tuple(frames), tuple(classes))


def batches(
    data: Sequences, size: int, *, shuffle: bool = False, device: str = "cpu"
) -> Iterator[Batch]:
    """Batches of that many sequences; shuffled by torch's generator, or in order."""
    order = torch.randperm(len(data)) if shuffle else torch.arange(len(data))
    for chosen in order.split(size):
        indices: list[int] = chosen.tolist()
        lengths = torch.tensor([len(data.frames[index]) for index in indices])
        mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
        yield Batch(
            _padded([data.frames[index] for index in indices]).to(device),
            _padded([data.classes[index] for index in indices]).to(device),
            _padded([data.boundaries(index) for index in indices]).to(device),
            mask.to(device),
        )


def _padded(tensors: list[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True)


def _between(low: int, high: int, draws: torch.Generator) -> int:
    return int(torch.randint(low, high + 1, (), generator=draws))
