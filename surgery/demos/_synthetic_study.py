"""The study of `surgery demo synthetic`: two heads, noise, and two tiers of data."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import surgery
from surgery import synthetic
from surgery.demos._digits import load_digits
from surgery.study import Reporter

CONFIG: dict[str, Any] = {
    "classes": 10,
    "size": 64,  # of a frame: 8 x 8 pixels in the real tier
    "noise": 0.5,
    "sequences": 96,
    "hidden": 32,
    "epochs": 12,
    "lr": 0.01,
    "batch": 16,
}
NOISES = (0.25, 0.5, 1.0, 2.0, 4.0)
SEEDS = 4
HEADS = ("classes", "boundaries")
METRICS = {
    "classes": ["frames", "edit", "segment_f1"],
    "boundaries": ["boundary_f1", "segments"],
}
TIERS = {"synthetic": "synthetic", "": "digits"}  # the study's own comes last


def make_model(config: dict[str, Any]) -> nn.Module:
    return synthetic.TwoHeads(config["size"], config["classes"], config["hidden"])


def make_synthetic(config: dict[str, Any], seed: int) -> dict[str, synthetic.Sequences]:
    """Training and evaluation share their embeddings; their noise has other seeds."""
    embeddings = synthetic.class_embeddings(config["classes"], config["size"])
    return _sequences([row[None] for row in embeddings], None, config, seed)


def make_digits(config: dict[str, Any], seed: int) -> dict[str, synthetic.Sequences]:
    """Every frame is an image of the digit that holds there; evaluation has others."""
    return _sequences(_digits("train"), _digits("test"), config, seed)


def _sequences(
    exemplars: list[Tensor], others: list[Tensor] | None, config: Any, seed: int
) -> dict[str, synthetic.Sequences]:
    return {
        split: synthetic.noisy_sequences(
            shown,
            config["sequences"],
            noise=config["noise"],
            seed=2 * seed + place,
        )
        for place, (split, shown) in enumerate(
            {"train": exemplars, "test": others or exemplars}.items()
        )
    }


@lru_cache
def _digits(split: Literal["train", "test"]) -> list[Tensor]:
    """Images by digit, as vectors around zero of about length 1, as embeddings are."""
    images, labels = load_digits(split, size=(8, 8), mean=0.0, std=1.0)
    flat = images.flatten(1)
    center = load_digits("train", size=(8, 8), mean=0.0, std=1.0)[0].flatten(1).mean(0)
    unit = F.normalize(flat - center, dim=1)
    return [unit[labels == digit] for digit in range(10)]


def example(data: dict[str, synthetic.Sequences]) -> tuple[Tensor, Tensor]:
    batch = next(synthetic.batches(data["train"], 2))
    return batch.frames, batch.mask


def train(
    model: nn.Module,
    data: dict[str, synthetic.Sequences],
    config: dict[str, Any],
    device: str,
    reporter: Reporter,
) -> dict[str, float]:
    """Both objectives at once; the scores of the evaluation sequences."""
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=config["lr"])
    size = config["batch"]
    loss = torch.zeros(())
    for epoch in range(config["epochs"]):
        model.train()
        for batch in synthetic.batches(
            data["train"], size, shuffle=True, device=device
        ):
            classes, boundaries = model(batch.frames, batch.mask)
            loss = F.cross_entropy(classes[batch.mask], batch.classes[batch.mask])
            loss = loss + F.binary_cross_entropy_with_logits(
                boundaries[batch.mask], batch.boundaries[batch.mask].float()
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        reporter.log(epoch, loss=loss)
    return scores(model, data["test"], size, device)


@torch.no_grad()
def scores(
    model: nn.Module, data: synthetic.Sequences, size: int, device: str
) -> dict[str, float]:
    """All named scores of both heads."""
    model.eval()
    classes: list[Tensor] = []
    begins: list[Tensor] = []
    for batch in synthetic.batches(data, size, device=device):
        logits, boundaries = model(batch.frames, batch.mask)
        for row, mask in enumerate(batch.mask.cpu()):
            classes.append(logits[row].argmax(-1).cpu()[mask])
            begins.append((boundaries[row] > 0).cpu()[mask])
    true = [data.boundaries(index) for index in range(len(data))]
    return {
        **synthetic.segment_scores(classes, data.classes),
        **synthetic.boundary_scores(begins, true),
    }


def make_study(
    storage: Path,
    *,
    seeds: int = SEEDS,
    noises: tuple[float, ...] = NOISES,
    **config: Any,
) -> surgery.Study:
    """Three variants: both heads learn, or one of them is frozen as it was drawn."""
    made = CONFIG | config
    study = surgery.Study(
        "synthetic",
        train=train,
        model=make_model,
        data=make_digits,
        config=made,
        metric=METRICS,
        seeds=seeds,
        storage=storage,
        inputs=example,
    )
    study.tier("synthetic", data=make_synthetic)
    study.contexts(**{f"noise {noise:g}": {**made, "noise": noise} for noise in noises})
    study.layers.include(*HEADS, remove="freeze")
    return study
