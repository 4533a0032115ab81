"""A ranking over JPEG files: the loop most people write, the same tuned, and ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

import surgery
from benchmarks.sweep.config import Case
from benchmarks.sweep.models import CLASSES
from benchmarks.sweep.parts import Part
from surgery import Engine

Loader = DataLoader[Any]
Scores = list[float]
"""Accuracies: the untouched model's, then without each part."""
Ranked = Callable[[nn.Module, Loader, Sequence[Part]], Scores]


def make_folder(case: Case, place: Path, seed: int = 0) -> Path:
    """Write the images of a case as an `ImageFolder` reads them.

    Args:
        case: Says how many, and their size.
        place: An empty folder.
        seed: Of the pictures.
    """
    generator = np.random.default_rng(seed)
    for number in range(case.images):
        folder = place / f"class{number % CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        coarse = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        # A photograph is larger than what a model takes: it is decoded and resized.
        size = case.pixels + case.pixels // 4
        picture = Image.fromarray(coarse).resize((size, size))
        picture.save(folder / f"{number:05}.jpg", quality=90)
    return place


def make_loader(case: Case, place: Path) -> Clocked:
    """What a user would write to read them."""
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    steps = transforms.Compose(
        [
            transforms.Resize(case.pixels),
            transforms.CenterCrop(case.pixels),
            transforms.ToTensor(),
            transforms.Normalize([0.5] * 3, [0.25] * 3),
        ]
    )
    return Clocked(ImageFolder(str(place), steps), batch_size=case.batch)


class Clocked(DataLoader[Any]):
    """A loader that notes when it was asked for every batch.

    Attributes:
        passes: By pass, the moments at which a batch was asked for, and the end.
    """

    passes: ClassVar[list[list[float]]] = []

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        moments: list[float] = []
        self.passes.append(moments)
        moments.append(time.perf_counter())
        for batch in super().__iter__():
            yield batch
            moments.append(time.perf_counter())

    def per_batch(self) -> float:
        """Seconds from one batch to the next, over all whole passes; forgets them."""
        whole = [m for m in self.passes if len(m) > len(self)]
        self.passes.clear()
        # A median: the first batch is the one at which graphs are made.
        return sum(median(b - a for a, b in pairwise(moments)) for moments in whole)


def usual(model: nn.Module, loader: Loader, parts: Sequence[Part]) -> Scores:
    """A cut and a pass over the files per part, `.item()` per batch."""
    found: Scores = []
    for part in (None, *parts):
        undo = part.cut(model) if part else _nothing
        right = total = 0
        with torch.no_grad():
            for images, labels in map(like(model), loader):
                right += int((model(images).argmax(1) == labels).sum().item())
                total += len(labels)
        undo()
        found.append(right / total)
    return found


def tuned(model: nn.Module, loader: Loader, parts: Sequence[Part]) -> Scores:
    """The same with the files read once, in inference mode, one read at the end."""
    batches = list(map(like(model), loader))
    total = sum(len(labels) for _, labels in batches)
    found: Scores = []
    with torch.inference_mode():
        for part in (None, *parts):
            undo = part.cut(model) if part else _nothing
            right = torch.zeros((), dtype=torch.long, device=_device(model))
            for images, labels in batches:
                right += (model(images).argmax(1) == labels).sum()
            undo()
            found.append(right.item() / total)
    return found


def ranking(backend: str) -> Ranked:
    """`surgery.rank`, with paired outcomes, intervals and tests on top."""
    can_lay_out = "memory_format" in {field.name for field in fields(Engine)}

    def ranked(model: nn.Module, loader: Loader, parts: Sequence[Part]) -> Scores:
        options: dict[str, Any] = {"backend": backend}
        if can_lay_out and _layout(model) is torch.channels_last:
            options["memory_format"] = torch.channels_last
        table = surgery.rank(
            model,
            loader,
            [part.target for part in parts],
            engine=Engine(**options),
            progress=False,
        )
        values = {row.component: row.value for row in table}
        return [table.rows[0].baseline, *(values[part.target] for part in parts)]

    return ranked


def one_by_one(parts: Sequence[Part]) -> str:
    """The backend that acts on such parts one at a time."""
    return "hooks" if all(p.path and p.features is None for p in parts) else "scoped"


def rankings(parts: Sequence[Part], names: Sequence[str]) -> Mapping[str, Ranked]:
    """Our ways by name: `auto`, and evaluators and backends beside it."""
    chosen = {"hooks": one_by_one(parts)}
    return {f"rank, {name}": ranking(chosen.get(name, name)) for name in names}


def like(model: nn.Module) -> Callable[[Any], Any]:
    """What brings a batch where the model is, in its memory format."""
    device, layout = _device(model), _layout(model)

    def brought(batch: Any) -> Any:
        images, labels = batch
        return images.to(device, memory_format=layout), labels.to(device)

    return brought


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _layout(model: nn.Module) -> torch.memory_format:
    kernel = next(p for p in model.parameters() if p.ndim == 4)
    last = kernel.is_contiguous(memory_format=torch.channels_last)
    plain = kernel.is_contiguous()
    return torch.channels_last if last and not plain else torch.contiguous_format


def _nothing() -> None:
    """Puts back what was not taken out."""
