"""Rankings that several processes make together; one process makes them alike.

Run by torchrun: `python -m torch.distributed.run ... -m tests.engine.sharded FOLDER`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler, TensorDataset

import surgery
from surgery.demos._digits import load_digits
from surgery.errors import OperationError

RANK = int(os.environ.get("RANK", "0"))
WORLD = int(os.environ.get("WORLD_SIZE", "1"))
TARGETS = ["stem", "act", "block", "block:branch", "head"]


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(self.conv(x))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.act = nn.ReLU()
        self.block = Block()
        self.head = nn.Linear(4 * 64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(self.act(self.stem(x)))
        out: Tensor = self.head(x.flatten(1))
        return out


def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net().eval()


def digits(count: int = 450) -> tuple[Tensor, Tensor]:
    x, y = load_digits("test", size=(8, 8))
    with torch.no_grad():  # labels that the model mostly gets right
        guessed = net()(x).argmax(1)
    return x[:count].clone(), torch.where(y < 4, y, guessed)[:count]


def per_sample(outputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
    chosen = outputs.softmax(1).gather(1, labels[:, None])[:, 0]
    return {"chosen": chosen, "margin": outputs.amax(1) - outputs.mean(1)}


def per_batch(outputs: Tensor, labels: Tensor) -> Tensor:
    return outputs.argmax(1).eq(labels).double().mean()


def rank(data: object, **options: Any) -> surgery.Ranking:
    options = {"targets": TARGETS, "progress": False, **options}
    return surgery.rank(net(), data, **options)


def metrics() -> surgery.Ranking:
    """Every way of keeping outcomes; seven batches, the last one short."""
    from torchmetrics import classification

    loader = DataLoader(TensorDataset(*digits()), batch_size=70, shuffle=True)
    return rank(
        loader,
        targets=["stem", "block"],
        metric=[
            *("accuracy", "cross_entropy", "perplexity", "f1:macro"),
            classification.MulticlassCalibrationError(10),
            classification.MulticlassJaccardIndex(10),
            per_sample,
            per_batch,
        ],
        higher_is_better={"chosen": True, "margin": True, "per_batch": True},
    )


def regression() -> surgery.Ranking:
    """Pairs, states that do not merge, sizes not known; an iterator of batches."""
    import torchmetrics

    x, y = digits(330)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for at in range(0, 330, 32):
            yield x[at : at + 32], nn.functional.one_hot(y[at : at + 32], 10).float()

    measured = [
        *("r2", "spearman", "mse"),
        torchmetrics.MeanSquaredError(),
        torchmetrics.CosineSimilarity(reduction="mean"),
        torchmetrics.MinMaxMetric(torchmetrics.MeanAbsoluteError()),
    ]
    better = {"max": False, "min": False, "raw": False}
    targets = ["stem", "block"]
    return rank(
        batches(),
        metric=measured,
        higher_is_better=better,
        mode="noise",
        targets=targets,
    )


def resample() -> surgery.Ranking:
    """The last batch has one sample, and joins the one before."""
    return rank(digits(64 * 4 + 1), mode="resample", metric=["accuracy", "f1"])


def mean() -> surgery.Ranking:
    loader = DataLoader(TensorDataset(*digits(300)), batch_size=64, shuffle=True)
    return rank(loader, mode="mean")


def few() -> surgery.Ranking:
    """Fewer batches than processes."""
    return rank(digits(40), metric=["f1:macro", "accuracy"], mode="identity")


def parameters() -> surgery.Ranking:
    targets = ["head", "block", "stem.weight"]
    return rank(
        list(zip(*map(lambda t: t.split(50), digits(250)), strict=True)),
        targets=targets,
        mode="reinit",
    )


def failing() -> surgery.Ranking:
    """Samples that fail always, or in variants only; a component refused midway."""
    x, y = digits(330)
    x[100, 0, 0, 0] = torch.nan
    x[64:96] = torch.nan  # a whole batch
    x[200, 0, 0, 0], x[290, 0, 0, 0] = 7, 9

    def mode(output: Tensor, inputs: object) -> Tensor:
        if bool((output == 9).any()):
            raise OperationError("no nines")
        bad = (output == 7).flatten(1).any(1)
        return torch.where(bad[:, None, None, None], torch.nan, output * 0.5)

    class Marked(Net):
        def __init__(self) -> None:
            super().__init__()
            self.given, self.again = nn.Identity(), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(self.again(self.given(x)))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Marked().eval()
    data = DataLoader(TensorDataset(x, y), batch_size=32)
    return surgery.rank(
        model,
        data,
        ["given", "act", "block"],
        mode=mode,
        metric=["accuracy", "cross_entropy", "f1"],
        on_error="skip",
        progress=False,
    )


def interrupted() -> surgery.Ranking:
    """Ctrl-C in one process, in the fourth batch."""
    x, y = digits(400)
    y[150] = 30  # the first of the fourth batch
    pressed: list[int] = []

    def step(model: nn.Module, batch: Any) -> tuple[Any, Any]:
        if batch[1][0] == 30:
            batch[1][0] = 1
            if not pressed:
                pressed.append(1)
                signal.raise_signal(signal.SIGINT)
        return model(batch[0]), batch[1]

    return rank(list(zip(x.split(50), y.split(50), strict=True)), step=step)


ALIKE: dict[str, Callable[[], surgery.Ranking]] = {
    f.__name__: f
    for f in (
        *(metrics, regression, resample, mean, few, parameters, failing, interrupted),
    )
}


def one_raises() -> surgery.Ranking:
    def step(model: nn.Module, batch: Any) -> tuple[Any, Any]:
        if RANK == 1 and len(batch[0]) < 64:
            raise ValueError("a short batch")
        return model(batch[0]), batch[1]

    return rank(digits(64 * 3 + 9), step=step)


def one_trains() -> surgery.Ranking:
    return surgery.rank(net().train(bool(RANK)), digits(), TARGETS, progress=False)


def other_data() -> surgery.Ranking:
    x, y = digits(200)
    return rank((x.roll(RANK, 0), y.roll(RANK, 0)))


def other_length() -> surgery.Ranking:
    x, y = digits(400)
    return rank(iter(list(zip(x.split(50), y.split(50), strict=True))[: 8 - RANK]))


def dealt_twice() -> surgery.Ranking:
    data = TensorDataset(*digits(200))
    sampler: Any = DistributedSampler(data, num_replicas=WORLD, rank=RANK)
    return rank(DataLoader(data, batch_size=20, sampler=sampler))


FAILING = (one_raises, one_trains, other_data, other_length, dealt_twice)


class Counted(Dataset[Any]):
    def __init__(self) -> None:
        self.x, self.y = digits(300)
        self.loaded: list[int] = []

    def __len__(self) -> int:
        return 300

    def __getitem__(self, index: int) -> Any:
        self.loaded.append(index)
        return self.x[index], self.y[index]


def main(folder: Path) -> None:
    told: dict[str, Any] = {}
    for name, make in ALIKE.items():
        make().save(folder / f"{name}-{RANK}.json")
    assert not dist.is_initialized()
    for fail in FAILING:
        try:
            fail()
        except Exception as error:
            notes = " ".join(getattr(error, "__notes__", []))
            told[fail.__name__] = f"{type(error).__name__}: {error} {notes}"
    data = Counted()
    rank(DataLoader(data, batch_size=50))
    told["loaded"] = data.loaded
    dist.init_process_group("gloo")
    few().save(folder / f"again-{RANK}.json")
    assert dist.is_initialized()
    alone = rank(digits(80 + RANK), engine=surgery.Engine(sharded=False))
    told["alone"] = alone.rows[0].n
    dist.destroy_process_group()
    (folder / f"told-{RANK}.json").write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
