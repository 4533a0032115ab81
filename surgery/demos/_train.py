"""Training of the demo's models: AdamW, one cycle, the epoch chosen on validation."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgery.demos._digits import Split, load_digits
from surgery.demos._recipes import Recipe


@dataclass(frozen=True)
class Trained:
    """A trained model, in eval mode, with its accuracies.

    Attributes:
        epoch: The epoch, counted from 1, that did best on validation.
    """

    model: nn.Module
    epoch: int
    validation_accuracy: float
    test_accuracy: float


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """Runs under `seed` and one thread; the caller's generator and threads return.

    One thread, because two on small images are slower on busy cores, and because the
    order of sums, and so the weights, would depend on the machine's cores.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            # Not `torch.manual_seed`, which would reseed the accelerators' as well.
            torch.default_generator.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def train(
    recipe: Recipe, *, seed: int = 0, on_step: Callable[[], None] | None = None
) -> Trained:
    """Trains `recipe` from scratch on the digits, on the CPU.

    `on_step` is called after each of the `steps_of(recipe)` steps. The model is never
    shown the test split before its weights are settled.
    """
    with seeded(seed):
        model = recipe.build()
        best, epoch, validation = _fit(model, recipe, on_step or _ignore)
        model.load_state_dict(best)
        model.eval()
        return Trained(model, epoch, validation, accuracy(model, recipe, "test"))


def steps_of(recipe: Recipe) -> int:
    """How many steps training takes."""
    return recipe.epochs * -(-len(digits_for(recipe, "train")[1]) // recipe.batch_size)


def digits_for(recipe: Recipe, split: Split) -> tuple[Tensor, Tensor]:
    """One split of the digits, in the form in which the recipe's model takes it."""
    size = (recipe.size, recipe.size)
    return load_digits(split, size=size, mean=recipe.mean, std=recipe.std)


def accuracy(model: nn.Module, recipe: Recipe, split: Split) -> float:
    """Share of the split's images that `model` names rightly."""
    return _accuracy(model, *digits_for(recipe, split))


def _fit(
    model: nn.Module, recipe: Recipe, on_step: Callable[[], None]
) -> tuple[dict[str, Tensor], int, float]:
    images, labels = digits_for(recipe, "train")
    held_out = digits_for(recipe, "validation")
    total = steps_of(recipe)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.lr, total_steps=total
    )
    best: tuple[dict[str, Tensor], int, float] = ({}, 0, -1.0)
    for epoch in range(recipe.epochs):
        model.train()
        chunks = torch.randperm(len(images)).chunk(total // recipe.epochs)
        for chosen in chunks:
            batch = _rolled(images[chosen], recipe.shift)
            loss = F.cross_entropy(model(batch), labels[chosen], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            on_step()
        score = _accuracy(model, *held_out)
        # On a tie the later epoch: its learning rate is lower.
        if score >= best[2]:
            state = {k: v.detach().clone() for k, v in model.state_dict().items()}
            best = (state, epoch + 1, score)
    return best


def _rolled(images: Tensor, most: int) -> Tensor:
    down, right = torch.randint(-most, most + 1, (2,)).tolist()
    return images.roll((down, right), dims=(2, 3))


def _accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    model.eval()
    with torch.no_grad():
        guesses = torch.cat([model(x).argmax(1) for x in images.split(256)])
    return (guesses == labels).float().mean().item()


def _ignore() -> None:
    """For callers who do not want to be told."""
