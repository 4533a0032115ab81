"""The demo itself: train or load, rank, show, say where everything is."""

from __future__ import annotations

import sys
from pathlib import Path

from torch.utils.data import DataLoader, TensorDataset

import surgery
from surgery.demos._recipes import RESNET, SWIN, Recipe
from surgery.demos._told import beside_python
from surgery.demos._train import Trained, digits_for, seeded, steps_of, train
from surgery.demos._weights import load_weights, save_weights
from surgery.errors import SurgeryError
from surgery.report import progress

RECIPES = (RESNET, SWIN)
PROMISED_ACCURACY = 0.97


def run_demo(
    out: str | Path = "runs/demo", *, seed: int = 0, retrain: bool = False
) -> dict[str, surgery.Ranking]:
    """Ranks every stage and block of two models trained on handwritten digits.

    Weights, rankings and TensorBoard logs go to `out`, one folder per model; where
    weights of the same recipe and seed lie there already, training is skipped.
    Tables go to standard output, progress to standard error.
    """
    folder = Path(out)
    rankings: dict[str, surgery.Ranking] = {}
    for recipe in RECIPES:
        trained = obtain(recipe, folder / recipe.name, seed=seed, retrain=retrain)
        rankings[recipe.name] = _rank(recipe, trained, folder / recipe.name, seed)
    _say_where(folder, len(digits_for(RESNET, "test")[1]))
    return rankings


def obtain(recipe: Recipe, folder: Path, *, seed: int, retrain: bool) -> Trained:
    """The recipe's trained model: from `folder` if it is there, else by training."""
    path = folder / "weights.safetensors"
    found = None if retrain else load_weights(path, recipe, seed)
    if found is not None:
        _note(f"{recipe.title}: weights from {path}")
    trained = found or _train_with_bar(recipe, seed)
    if trained.test_accuracy < PROMISED_ACCURACY:
        raise SurgeryError(
            f"{recipe.name} reached {trained.test_accuracy:.1%} on the test split, "
            f"less than the {PROMISED_ACCURACY:.0%} that makes its ranking worth "
            f"reading, with seed {seed}; use another: surgery demo --seed {seed + 1}"
        )
    if found is None:
        save_weights(path, trained, recipe, seed)
    return trained


def _train_with_bar(recipe: Recipe, seed: int) -> Trained:
    title, steps = f"training {recipe.title}", steps_of(recipe)
    with progress(title, steps) as advance:
        return train(recipe, seed=seed, on_step=advance)


def _rank(recipe: Recipe, trained: Trained, folder: Path, seed: int) -> surgery.Ranking:
    images, labels = digits_for(recipe, "test")
    loader = DataLoader(TensorDataset(images, labels), batch_size=150)
    with seeded(seed):
        ranking = surgery.rank(
            trained.model,
            loader,
            list(recipe.targets),
            mode="identity",
            metric="accuracy",
            engine=surgery.Engine(device="cpu"),
            seed=seed,
        )
    ranking.save(folder / "ranking.json")
    ranking.to_tensorboard(folder)
    print(
        f"\n{recipe.title}: {100 * trained.test_accuracy:.1f} % of {len(labels)} "
        "unseen handwritten digits right "
        f"(epoch {trained.epoch}, chosen on validation).\n"
        "Each row skips one stage or block, passing its input on in its place, and "
        "tests what that changed.\n"
    )
    print(ranking)
    return ranking


def _say_where(folder: Path, images: int) -> None:
    example = folder / RESNET.name / "weights.safetensors"
    print(
        f"\nWeights, rankings (JSON) and TensorBoard logs are in {folder}. To look:\n"
        f"  {beside_python('tensorboard')} --logdir {folder}\n"
        f"Where {images} images cannot tell small changes of accuracy, a finer metric "
        "may:\n"
        f'  {beside_python("surgery")} rank "timm:resnet18?channels=(16,32,64,128)'
        '&in_chans=1&num_classes=10" \\\n'
        f'    digits "layer*.*" --checkpoint {example} --input-size 32 \\\n'
        "    --mode identity --metric cross_entropy"
    )


def _note(text: str) -> None:
    print(text, file=sys.stderr)
