"""Training of the demo's models, on a recipe cut short."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.models import swin_transformer

from surgery.demos._demo import obtain
from surgery.demos._recipes import RESNET, SWIN, Recipe, build_swin
from surgery.demos._train import accuracy, steps_of, train
from surgery.demos._weights import load_weights, save_weights
from surgery.errors import SurgeryError

QUICK = replace(SWIN, epochs=2, batch_size=256)


def test_training_is_the_same_for_the_same_seed() -> None:
    first, again, other = (train(QUICK, seed=seed) for seed in (1, 1, 2))
    a, b, c = (t.model.state_dict()["head.fc.weight"] for t in (first, again, other))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert first.test_accuracy == again.test_accuracy


def test_training_leaves_the_callers_generator_and_threads_alone() -> None:
    torch.manual_seed(5)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    train(QUICK)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_every_step_is_told_once() -> None:
    told: list[None] = []
    train(QUICK, on_step=lambda: told.append(None))
    assert len(told) == steps_of(QUICK) == 10


def test_the_epoch_is_the_best_on_validation() -> None:
    trained = train(QUICK)
    assert not trained.model.training
    found = accuracy(trained.model, QUICK, "validation")
    assert found == pytest.approx(trained.validation_accuracy)
    assert 1 <= trained.epoch <= QUICK.epochs


def test_the_swin_has_blocks_with_and_without_a_shift() -> None:
    shifts = [m.shift_size for m in build_swin().modules() if hasattr(m, "shift_size")]
    assert (1, 1) in shifts and (0, 0) in shifts


def test_a_swin_without_a_shift_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    make = swin_transformer.SwinTransformer

    def without_shift(**options: Any) -> Any:
        # A window as large as the grid: what timm then does without a word.
        return make(**{**options, "window_size": 4})

    monkeypatch.setattr(swin_transformer, "SwinTransformer", without_shift)
    with pytest.raises(SurgeryError, match="no block with shifted windows"):
        build_swin()


def test_weights_come_back_bitwise(tmp_path: Path) -> None:
    trained = train(QUICK, seed=3)
    save_weights(tmp_path / "w.safetensors", trained, QUICK, 3)
    loaded = load_weights(tmp_path / "w.safetensors", QUICK, 3)
    assert loaded is not None
    assert loaded.epoch == trained.epoch
    assert loaded.test_accuracy == trained.test_accuracy
    for name, value in trained.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value)
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_weights_of_another_recipe_seed_or_model_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, train(QUICK), QUICK, 0)
    assert load_weights(path, QUICK, 0) is not None
    assert load_weights(path, QUICK, 1) is None
    assert load_weights(path, replace(QUICK, lr=0.5), 0) is None
    disguised = replace(train(QUICK), model=torch.nn.Linear(2, 2))
    save_weights(path, disguised, QUICK, 0)
    assert load_weights(path, QUICK, 0) is None


def test_damaged_or_missing_weights_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    assert load_weights(path, QUICK, 0) is None
    save_weights(path, train(QUICK), QUICK, 0)
    whole = path.read_bytes()
    for damaged in (b"", b"garbage", whole[:100], whole[:-100]):
        path.write_bytes(damaged)
        assert load_weights(path, QUICK, 0) is None


def test_a_model_below_the_promise_is_not_ranked(tmp_path: Path) -> None:
    hopeless = replace(QUICK, epochs=1, lr=1e-6)
    with pytest.raises(SurgeryError, match="surgery demo --seed 1"):
        obtain(hopeless, tmp_path, seed=0, retrain=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("recipe", [RESNET, SWIN], ids=lambda recipe: recipe.name)
def test_a_recipe_is_told_by_its_fingerprint(recipe: Recipe) -> None:
    assert recipe.fingerprint() == replace(recipe).fingerprint()
    assert recipe.fingerprint() != replace(recipe, epochs=99).fingerprint()
