"""Weights of the demo's models on disk: safetensors, and what they were made by."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from surgery.demos._recipes import Recipe
from surgery.demos._train import Trained, accuracy, seeded


def save_weights(path: Path, trained: Trained, recipe: Recipe, seed: int) -> None:
    """Writes the weights whole or not at all."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    state = {k: v.contiguous() for k, v in trained.model.state_dict().items()}
    metadata = {
        "recipe": recipe.fingerprint(),
        "name": recipe.name,
        "seed": str(seed),
        "epoch": str(trained.epoch),
        "validation_accuracy": repr(trained.validation_accuracy),
        "test_accuracy": repr(trained.test_accuracy),
        "torch": torch.__version__,
    }
    unfinished = path.with_suffix(".part")
    save_file(state, unfinished, metadata=metadata)
    os.replace(unfinished, path)


def load_weights(path: Path, recipe: Recipe, seed: int) -> Trained | None:
    """The trained model, or `None` where the file cannot stand in for training.

    That is: no file, a damaged one, one of another recipe or seed, or one that does
    not fit the model as it is built today.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}
    except (OSError, SafetensorError):
        return None
    if (metadata.get("recipe"), metadata.get("seed")) != (
        recipe.fingerprint(),
        str(seed),
    ):
        return None
    with seeded(seed):
        model = recipe.build()
        try:
            model.load_state_dict(state)
            epoch = int(metadata["epoch"])
            validation = float(metadata["validation_accuracy"])
        except (RuntimeError, KeyError, ValueError):
            return None
        model.eval()
        return Trained(model, epoch, validation, accuracy(model, recipe, "test"))
