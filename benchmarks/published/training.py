"""Digits and training: a recipe and a seed give the same network each time.

Networks are kept under `.cache/published/models`, with the states on the way that a
recipe asks for; where one lies there already, nothing is trained.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.published.models import (
    CLASSES,
    SIDE,
    AbstractShape,
    TransformerShape,
)
from surgery.demos import load_digits
from surgery.demos._train import seeded

Pair = tuple[Tensor, Tensor]
Batches = Sequence[Pair]


@dataclass(frozen=True)
class Recipe:
    """A network and how it is trained; its `repr` says all that determines it.

    Attributes:
        shape: The network.
        epochs: Passes over the training images.
        lr: Peak learning rate of a one-cycle schedule.
        optimizer: `"sgd"` with momentum 0.9, or `"adamw"`.
        weight_decay: Of either.
        clip: Largest norm of the gradient, if it is to be bounded.
        shift: Training images are moved by up to so many pixels.
        noise: Standard deviation of Gaussian noise on all images (ink is 2, paper 0),
            drawn anew for each batch of training.
        random_labels: Share of the training images that get labels by lot.
        keep: Epochs after which the state is kept; 0 is before training.
        images: Only so many training images, all by default.
    """

    shape: AbstractShape
    epochs: int
    lr: float
    optimizer: Literal["sgd", "adamw"] = "sgd"
    weight_decay: float = 0.0
    clip: float | None = None
    batch_size: int = 64
    shift: int = 0
    noise: float = 0.0
    random_labels: float = 0.0
    keep: tuple[int, ...] = ()
    images: int | None = None

    def fingerprint(self) -> str:
        """Changes whenever networks of an older recipe no longer count."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Trained:
    """A trained network in eval mode, with all that it learned from and never saw.

    Attributes:
        states: Its state after each epoch that was kept, 0 and the last among them.
        train: The training images and labels: one batch.
        test: Likewise those that it never saw.
    """

    model: nn.Module
    states: dict[int, dict[str, Tensor]]
    train: Batches
    test: Batches

    @torch.no_grad()
    def accuracy(self, data: Batches) -> float:
        """Share of images named as labelled."""
        ((images, labels),) = data
        return float((self.model(images).argmax(1) == labels).float().mean())


TRANSFORMER = Recipe(
    TransformerShape(blocks=12, width=48, heads=4),
    epochs=50,
    lr=2e-3,
    optimizer="adamw",
    weight_decay=0.05,
    clip=1.0,
    shift=1,
)
"""Three of the papers are about transformers, and share this one."""
TINY_TRANSFORMER = Recipe(
    TransformerShape(blocks=4, width=16, heads=4),
    epochs=1,
    lr=2e-3,
    optimizer="adamw",
    images=128,
)


def obtain(recipe: Recipe, seed: int, folder: Path) -> Trained:
    """The recipe's network: from `folder` if it is there, else by training."""
    train, test = _digits(recipe, seed)
    noisy = [_with_noise(data, recipe, seed) for data in (train, test)]
    path = folder / "models" / f"{recipe.fingerprint()}-{seed}.safetensors"
    with seeded(seed):
        model = recipe.shape.build()
        if not path.exists():
            _save(path, _fit(model, recipe, train))
    states = _load(path)
    model.load_state_dict(states[recipe.epochs])
    return Trained(model.eval(), states, noisy[:1], noisy[1:])


def _digits(recipe: Recipe, seed: int) -> tuple[Pair, Pair]:
    draws = torch.Generator().manual_seed(seed)
    parts = _split("train"), _split("validation")
    x, y = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    chosen = torch.randperm(len(x), generator=draws)[: recipe.images]
    x, y = x[chosen], y[chosen]
    lots = torch.randint(CLASSES, y.shape, generator=draws)
    y = torch.where(
        torch.rand(y.shape, generator=draws) < recipe.random_labels, lots, y
    )
    return (x, y), _split("test")


def _with_noise(data: Pair, recipe: Recipe, seed: int) -> Pair:
    """One draw of the noise, to measure with; training draws its own."""
    images, labels = data
    draws = torch.Generator().manual_seed(seed)
    return images + recipe.noise * torch.randn(images.shape, generator=draws), labels


def _split(split: Literal["train", "validation", "test"]) -> Pair:
    return load_digits(split, size=(SIDE, SIDE), mean=0.0, std=0.5)


def _fit(model: nn.Module, recipe: Recipe, data: Pair) -> dict[int, dict[str, Tensor]]:
    x, y = data
    steps = -(-len(x) // recipe.batch_size)
    optimizer = _optimizer(model, recipe)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.lr, total_steps=steps * recipe.epochs
    )
    kept = {0: _state(model)}
    for epoch in range(1, recipe.epochs + 1):
        model.train()
        for chosen in torch.randperm(len(x)).split(recipe.batch_size):
            loss = F.cross_entropy(model(_altered(x[chosen], recipe)), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            if recipe.clip:
                nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimizer.step()
            schedule.step()
        if epoch in (*recipe.keep, recipe.epochs):
            kept[epoch] = _state(model)
    return kept


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    weights, decay = model.parameters(), recipe.weight_decay
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(weights, recipe.lr, weight_decay=decay)
    return torch.optim.SGD(weights, recipe.lr, momentum=0.9, weight_decay=decay)


def _altered(images: Tensor, recipe: Recipe) -> Tensor:
    if recipe.shift:
        down, right = torch.randint(2 * recipe.shift + 1, (2,)).tolist()
        padded = F.pad(images, (recipe.shift,) * 4)
        images = padded[:, :, down : down + SIDE, right : right + SIDE]
    return images + recipe.noise * torch.randn_like(images) if recipe.noise else images


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().clone() for k, v in model.state_dict().items()}


def _save(path: Path, states: dict[int, dict[str, Tensor]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = {f"{epoch}/{k}": v for epoch, s in states.items() for k, v in s.items()}
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    save_file(flat, unfinished)
    os.replace(unfinished, path)


def _load(path: Path) -> dict[int, dict[str, Tensor]]:
    states: dict[int, dict[str, Tensor]] = {}
    for key, tensor in load_file(path).items():
        epoch, _, name = key.partition("/")
        states.setdefault(int(epoch), {})[name] = tensor
    return states
