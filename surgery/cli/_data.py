"""DATA on the command line -> what `rank` takes."""

from __future__ import annotations

import zipfile
from collections.abc import Sized
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from surgery.cli._images import ImageFormat, image_format
from surgery.cli._spec import Spec, call_factory, parse_spec
from surgery.errors import DataError


def load_data(
    text: str,
    model: nn.Module,
    *,
    split: str | None = None,
    input_size: int | None = None,
    batch_size: int = 64,
    limit: int | None = None,
    workers: int = 0,
    seed: int = 0,
) -> object:
    """The data that `text` names, in the form in which `model` takes it.

    `digits`, `imagefolder:PATH`, `npz:PATH` or `package.module:factory`. A `limit`
    draws that many samples by `seed`, since the first ones are often of one class.
    """
    spec = parse_spec(text)
    if spec.scheme == "digits" and not spec.name:
        data: object = _digits(_format(model, input_size, "digits"), split)
    elif spec.scheme == "imagefolder":
        path = Path(text.partition(":")[2])
        data = _imagefolder(path, _format(model, input_size, text), split)
    elif spec.scheme == "npz":
        data = _npz(Path(text.partition(":")[2]), split)
    elif spec.name:
        data = _own(spec, split)
    else:
        raise DataError(
            f"{text!r} does not name data; write digits, imagefolder:PATH, npz:PATH or "
            "package.module:factory"
        )
    if limit is not None:
        data = _limited(data, limit, seed)
    if isinstance(data, Dataset):
        samples: Dataset[Any] = data
        return DataLoader(samples, batch_size=batch_size, num_workers=workers)
    return data


def _digits(form: ImageFormat, split: str | None) -> Dataset[Any]:
    from surgery.demos import SPLITS, load_digits

    chosen = split or "test"
    if chosen not in SPLITS:
        raise DataError(f"digits has no split {chosen!r}; it has {', '.join(SPLITS)}")
    images, labels = load_digits(
        cast(Any, chosen),
        size=form.size,
        channels=form.channels,
        mean=form.mean,
        std=form.std,
    )
    return TensorDataset(images, labels)


def _imagefolder(path: Path, form: ImageFormat, split: str | None) -> Dataset[Any]:
    from torchvision.datasets import ImageFolder

    folder = path / split if split else path
    if not folder.is_dir():
        raise DataError(
            f"there is no folder {folder}; give one with a folder per class"
        )
    try:
        images: Any = ImageFolder(str(folder), transform=form.transform())
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} is not laid out as one folder of images per class ({error}); "
            "mend it, or name one that is"
        ) from error
    return cast("Dataset[Any]", images)


def _npz(path: Path, split: str | None) -> Dataset[Any]:
    names = (f"x_{split}", f"y_{split}") if split else ("x", "y")
    try:
        # Opened here: numpy leaves a damaged file open.
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            missing = [name for name in names if name not in file]
            if missing:
                raise DataError(
                    f"{path} has no array {' and '.join(missing)}, but "
                    f"{', '.join(file.files) or 'nothing'}; write numpy.savez("
                    f"{path.name!r}, {names[0]}=inputs, {names[1]}=labels)"
                )
            inputs, labels = (_tensor(file[name], name, path) for name in names)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} cannot be read as an npz file of plain arrays ({error}); "
            f"write it with numpy.savez({path.name!r}, x=inputs, y=labels)"
        ) from error
    if len(inputs) != len(labels):
        raise DataError(
            f"{path} has {len(inputs)} inputs for {len(labels)} labels; "
            "save one label per input"
        )
    return TensorDataset(inputs, labels)


def _tensor(array: np.ndarray[Any, Any], name: str, path: Path) -> Tensor:
    if array.dtype == np.uint8 and name.startswith("x"):
        raise DataError(
            f"{name} of {path} holds bytes, but models take floats; save it as "
            "float32, scaled the way the model was trained"
        )
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name} of {path} holds {array.dtype}; save numbers")
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    elif array.dtype.kind in "iu":
        array = array.astype(np.int64)
    return torch.from_numpy(array)


def _own(spec: Spec, split: str | None) -> object:
    options = {**spec.options, **({"split": split} if split else {})}
    return call_factory(Spec(spec.scheme, spec.name, options), "data")


def _format(model: nn.Module, input_size: int | None, data: str) -> ImageFormat:
    form = image_format(model, input_size)
    if form is None:
        raise DataError(
            f"{data} holds images, but the model has no image layer; give its data as "
            "package.module:factory or npz:PATH"
        )
    return form


def _limited(data: object, limit: int, seed: int) -> object:
    if isinstance(data, DataLoader):
        loader: DataLoader[Any] = data
        subset = _limited(loader.dataset, limit, seed)
        return DataLoader(
            cast("Dataset[Any]", subset),
            batch_size=loader.batch_size,
            num_workers=loader.num_workers,
            collate_fn=loader.collate_fn,
        )
    if isinstance(data, tuple | list):
        columns = [cast(Any, column) for column in cast("tuple[object, ...]", data)]
        chosen = _chosen(len(columns[0]), limit, seed)
        return tuple(column[chosen] for column in columns)
    if not isinstance(data, Dataset) or not isinstance(data, Sized):
        raise DataError(
            f"--limit needs data of known length, got a {type(data).__name__}; let the "
            "factory return a Dataset or a DataLoader, or limit it there"
        )
    return Subset(cast("Dataset[Any]", data), _chosen(len(data), limit, seed))


def _chosen(count: int, limit: int, seed: int) -> list[int]:
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return sorted(order[:limit].tolist())
