"""DATA on the command line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from surgery.cli._data import load_data
from surgery.errors import DataError

MODEL = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def batches(data: object) -> list[Any]:
    assert isinstance(data, DataLoader)
    return list(data)


def test_digits_come_in_the_channels_and_size_that_the_model_takes() -> None:
    loaded = batches(load_data("digits", MODEL, input_size=20, batch_size=100))
    assert [len(y) for _, y in loaded] == [100, 100, 100, 100, 50]
    assert loaded[0][0].shape == (100, 3, 20, 20)
    assert loaded[0][0].min() >= -1 and loaded[0][0].max() <= 1


def test_a_limit_draws_by_the_seed_and_not_the_first_ones() -> None:
    def labels(seed: int) -> list[int]:
        data = load_data("digits", MODEL, input_size=8, limit=30, seed=seed)
        return [int(y) for _, batch in batches(data) for y in batch]

    assert len(labels(0)) == 30
    assert labels(0) == labels(0) != labels(1)


def test_an_unknown_split_of_digits_lists_the_known() -> None:
    with pytest.raises(DataError, match="no split 'val'; it has train, validation"):
        load_data("digits", MODEL, split="val")


def save_images(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for i in range(2):
            pixels = rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{i}.png")


def test_a_folder_of_images_is_transformed_for_the_model(tmp_path: Path) -> None:
    save_images(tmp_path / "val")
    data = load_data(f"imagefolder:{tmp_path}", MODEL, split="val", input_size=32)
    ((x, y),) = batches(data)
    assert x.shape == (4, 3, 32, 32) and y.tolist() == [0, 0, 1, 1]


def test_a_one_channel_model_gets_grey_images(tmp_path: Path) -> None:
    save_images(tmp_path)
    model = nn.Conv2d(1, 2, 3)
    ((x, _),) = batches(load_data(f"imagefolder:{tmp_path}", model, input_size=16))
    assert x.shape == (4, 1, 16, 16)


def test_a_missing_folder_and_one_without_classes_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        load_data(f"imagefolder:{tmp_path}/none", MODEL)
    with pytest.raises(DataError, match="one folder of images per class"):
        load_data(f"imagefolder:{tmp_path}", MODEL)


def test_images_for_a_model_without_an_image_layer_are_an_error() -> None:
    with pytest.raises(DataError, match="the model has no image layer"):
        load_data("digits", nn.Linear(2, 2))


def test_npz_gives_floats_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.eye(3), y=np.array([0, 1, 2], dtype=np.int32))
    ((x, y),) = batches(load_data(f"npz:{path}", MODEL))
    assert x.dtype == torch.float32 and torch.equal(x, torch.eye(3))
    assert y.dtype == torch.int64 and y.tolist() == [0, 1, 2]


def test_npz_may_hold_splits(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x_val=np.zeros((2, 1)), y_val=np.zeros(2))
    ((x, _),) = batches(load_data(f"npz:{path}", MODEL, split="val"))
    assert x.shape == (2, 1)
    with pytest.raises(DataError, match="no array x and y, but x_val, y_val"):
        load_data(f"npz:{path}", MODEL)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((2, 1)), np.zeros(3), "2 inputs for 3 labels"),
        (np.zeros((2, 1), dtype=np.uint8), np.zeros(2), "holds bytes.*float32"),
        (np.array(["a", "b"]), np.zeros(2), "save numbers"),
        (np.array([None, None]), np.zeros(2), "npz file of plain arrays"),
    ],
)
def test_arrays_that_do_not_fit_are_errors(
    tmp_path: Path, x: Any, y: Any, message: str
) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=x, y=y)
    with pytest.raises(DataError, match=message):
        load_data(f"npz:{path}", MODEL)


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04"])
def test_a_damaged_npz_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as an npz file"):
        load_data(f"npz:{path}", MODEL)


def test_text_that_names_no_data_says_what_would() -> None:
    with pytest.raises(DataError, match="write digits, imagefolder:PATH"):
        load_data("mnist", MODEL)


FACTORY = """
import torch
from torch.utils.data import DataLoader, TensorDataset
def dataset(n=6, split="train"):
    return TensorDataset(torch.arange(n).float()[:, None], torch.zeros(n))
def loader():
    return DataLoader(dataset(), batch_size=4)
def pair():
    return torch.arange(6), torch.arange(6)
def stream():
    yield torch.zeros(2, 1), torch.zeros(2)
"""


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "cli_data_factory.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "cli_data_factory"


def test_a_dataset_is_put_into_batches(factory: str) -> None:
    data = load_data(f"{factory}:dataset?n=5", MODEL, batch_size=3, split="test")
    assert [len(x) for x, _ in batches(data)] == [3, 2]


def test_a_loader_keeps_its_own_batches_also_under_a_limit(factory: str) -> None:
    loader = load_data(f"{factory}:loader", MODEL)
    assert [len(x) for x, _ in batches(loader)] == [4, 2]
    limited = load_data(f"{factory}:loader", MODEL, limit=5)
    assert [len(x) for x, _ in batches(limited)] == [4, 1]


def test_a_pair_is_limited_together(factory: str) -> None:
    pair: Any = load_data(f"{factory}:pair", MODEL, limit=4)
    assert len(pair[0]) == 4 and torch.equal(pair[0], pair[1])


def test_a_stream_cannot_be_limited(factory: str) -> None:
    assert not isinstance(load_data(f"{factory}:stream", MODEL), TensorDataset)
    with pytest.raises(DataError, match="--limit needs data of known length"):
        load_data(f"{factory}:stream", MODEL, limit=1)
