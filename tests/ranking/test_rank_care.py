"""What models, steps and data may do without spoiling a ranking."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import surgery
from surgery.errors import DataError, OperationError

Pair = tuple[Tensor, Tensor]


@pytest.fixture
def data() -> Pair:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(130, 6, generator=generator), torch.arange(130) % 3


def linear(seed: int, into: int, out: int) -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Linear(into, out)


class Net(nn.Module):
    """Two layers; subclasses misbehave."""

    def __init__(self) -> None:
        super().__init__()
        self.part = linear(0, 6, 6)
        self.head = linear(1, 6, 3)

    def forward(self, x: Any, *more: Any) -> Any:
        return self.head(self.part(x).tanh())


def loss(outputs: Tensor, labels: Tensor) -> float:
    return float(nn.functional.cross_entropy(outputs, labels))


def ranked(
    model: nn.Module, data: object, targets: Any = "part", **options: Any
) -> Any:
    options.setdefault("metric", "cross_entropy")
    return surgery.rank(model.eval(), data, targets, progress=False, **options)


@torch.no_grad()
def test_a_model_that_changes_its_input_sees_the_true_input_each_time(
    data: Pair,
) -> None:
    class InPlace(Net):
        def forward(self, x: Any, *more: Any) -> Any:
            return super().forward(x.sub_(1).mul_(2))

    model, before = InPlace(), data[0].clone()
    (row,) = ranked(model, data)
    assert torch.equal(data[0], before), "the user's data were changed"
    assert row.baseline == pytest.approx(loss(model(before.clone()), data[1]), rel=1e-6)
    with surgery.ablate(model, "part"):
        value = loss(model(before.clone()), data[1])
    assert row.value == pytest.approx(value, rel=1e-6)


def test_a_step_that_takes_its_batch_apart_gets_a_whole_one_each_time(
    data: Pair,
) -> None:
    def step(model: nn.Module, batch: dict[str, Tensor]) -> Pair:
        labels = batch.pop("y")
        return model(batch["x"]), labels

    rows = ranked(Net(), [{"x": data[0], "y": data[1]}], ["part", "head"], step=step)
    plain = ranked(Net(), data, ["part", "head"])
    assert [r.value for r in rows] == pytest.approx([r.value for r in plain])


def test_every_forward_finds_the_buffers_as_they_were(data: Pair) -> None:
    class Counting(Net):
        n: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("n", torch.zeros(()))

        def forward(self, x: Any, *more: Any) -> Any:
            self.n += 1
            return super().forward(x) * self.n

    model = Counting()
    plain = ranked(Net(), data, ["part", "head"])
    counted = ranked(model, data, ["part", "head"])
    assert [r.value for r in counted] == [r.value for r in plain]
    assert float(model.n) == 0


def test_a_model_that_returns_its_own_memory_is_compared_with_what_it_was(
    data: Pair,
) -> None:
    class Reusing(Net):
        def __init__(self) -> None:
            super().__init__()
            self.memory = torch.empty(130, 3)

        def forward(self, x: Any, *more: Any) -> Any:
            out = self.memory[: len(x)]
            return out.copy_(super().forward(x))

    plain, reusing = ranked(Net(), data), ranked(Reusing(), data)
    assert reusing.rows == plain.rows
    assert reusing.rows[0].effect == "full"


class Ill(Net):
    """NaN for samples marked 55; raises on those marked 66."""

    def forward(self, x: Any, *more: Any) -> Any:
        if bool((x[:, 0] == 66).any()):
            raise RuntimeError("cannot")
        return torch.where(x[:, :1] == 55, torch.nan, super().forward(x))


@pytest.mark.parametrize("mark", [55, 66])
@pytest.mark.parametrize("over", ["activation", "channel"])
def test_samples_that_fail_do_not_enter_a_mean(
    data: Pair, mark: float, over: Any
) -> None:
    images = data[0].clone()
    images[[3, 70], 0] = mark
    good = torch.ones(130, dtype=torch.bool)
    good[[3, 70]] = False
    mode = surgery.ops.Mean(over=over)
    (row,) = ranked(Ill(), (images, data[1]), mode=mode, on_error="skip")
    (truth,) = ranked(Net(), (data[0][good], data[1][good]), mode=mode)
    assert row.n == 128
    assert row.failed == 0
    assert row.value == pytest.approx(truth.value, rel=1e-5)
    with pytest.raises(surgery.errors.SurgeryError, match="on_error='skip'"):
        ranked(Ill(), (images, data[1]), mode=mode)


def test_an_operation_that_does_not_fit_is_skipped_not_counted_as_failure(
    data: Pair,
) -> None:
    def halved(output: Tensor, inputs: Any) -> Tensor:
        return output[:, :3] if output.shape[1] == 6 else torch.zeros_like(output)

    with pytest.raises(OperationError, match="returned shape"):
        ranked(Net(), data, ["part", "head"], mode=halved)
    ranking = ranked(Net(), data, ["part", "head"], mode=halved, on_error="skip")
    assert [row.component for row in ranking] == ["head"]
    assert [s["component"] for s in ranking.skipped] == ["part"]
    assert ranking.failures == ()


def test_resampling_finds_a_donor_for_a_last_batch_of_one(data: Pair) -> None:
    pair = data[0][:65], data[1][:65]
    (row,) = ranked(Net(), pair, mode="resample")
    assert row.n == 65
    with pytest.raises(DataError, match="no donor in a batch of one"):
        ranked(Net(), [(data[0][:1], data[1][:1])], mode="resample")


class Tokens(Net):
    """Three rows of output per sample."""

    def forward(self, x: Any, *more: Any) -> Any:
        rows = super().forward(x)[:, None].expand(-1, 3, -1).clone()
        rows[x[:, 0] == 55, 1] = torch.nan
        part = self.part(x)
        rows[(x[:, 0] == 44) & (part[:, 0] == 0), 2] = torch.nan
        return rows.flatten(0, 1)


def test_steps_may_give_several_rows_per_sample(data: Pair) -> None:
    images = data[0].clone()
    images[5, 0], images[9, 0] = 55, 44

    def step(model: nn.Module, batch: Pair) -> Pair:
        return model(batch[0]), batch[1].repeat_interleave(3)

    ranking = ranked(
        Tokens(), (images, data[1]), step=step, on_error="skip", metric="error_rate"
    )
    (row,) = ranking
    assert row.n == 129 * 3
    assert [(f["component"], f["sample"]) for f in ranking.failures] == [
        (None, 5),
        ("part", 9),
    ]


def test_outputs_keep_their_structure_when_a_sample_fails_under_ablation(
    data: Pair,
) -> None:
    class Named(Net):
        def forward(self, x: Any, *more: Any) -> Any:
            part = self.part(x)
            if bool(((x[:, 0] == 77) & (part[:, 0] == 0)).any()):
                raise RuntimeError("cannot do without part")
            return {"logits": self.head(part.tanh()), "part": part}

    def wrong(outputs: Any, labels: Tensor) -> Tensor:
        logits: Tensor = outputs["logits"]
        return (logits.argmax(1) != labels).float()

    images = data[0].clone()
    images[5, 0] = 77
    ranking = ranked(
        Named(),
        (images, data[1]),
        metric=wrong,
        higher_is_better=False,
        on_error="skip",
        step=lambda model, batch: (model(batch[0]), batch[1]),
    )
    (row,) = ranking
    assert row.failed == 1
    assert [f["sample"] for f in ranking.failures] == [5]


def test_a_pair_of_two_images_and_two_labels_is_two_samples() -> None:
    class Sizes(Net):
        def forward(self, x: Any, *more: Any) -> Any:
            if any(bool((image == 66).any()) for image in x):
                raise RuntimeError("cannot")
            means = torch.stack([image.mean((1, 2)) for image in x])
            return super().forward(torch.cat([means, means], 1))

    generator = torch.Generator().manual_seed(0)
    images = [torch.randn(3, 5 + i, 5, generator=generator) for i in range(4)]
    images[1][0, 0, 0] = 66
    batches = [(images[:2], [0, 1]), (images[2:], [2, 0])]

    def step(model: nn.Module, batch: Any) -> tuple[Any, Any]:
        return model(batch[0]), torch.tensor(batch[1])

    ranking = ranked(Sizes(), batches, step=step, on_error="skip")
    assert ranking.rows[0].n == 3
    assert [f["sample"] for f in ranking.failures] == [1]


def test_ablate_reads_batches_of_several_inputs_as_rank_does(data: Pair) -> None:
    class Two(Net):
        def forward(self, x: Any, *more: Any) -> Any:
            return super().forward(x + more[0])

    batch = [[data[0], data[0]], data[1]]
    model = Two().eval()
    (row,) = ranked(model, [batch], mode="mean")
    with surgery.ablate(model, "part", "mean", data=[batch]), torch.no_grad():
        value = loss(model(data[0], data[0]), data[1])
    assert row.value == pytest.approx(value, rel=1e-6)


def test_a_mean_over_data_that_is_not_finite_is_refused(data: Pair) -> None:
    model = Net()
    with torch.no_grad():
        model.part.weight[0, 0] = torch.nan
    with pytest.raises(DataError, match="not finite"):
        surgery.ablate(model, "part", "mean", data=data)


def test_a_random_operation_in_effect_already_draws_alike_for_every_variant() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 3)
            self.dead = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.a(x) + 0 * self.dead(x)
            return out

    torch.manual_seed(0)
    model, data = Model().eval(), (torch.randn(64, 4), torch.randint(3, (64,)))
    with surgery.ablate(model, "a", surgery.ops.Noise(2.0)):
        (row,) = surgery.rank(model, data, "dead", metric="cross_entropy")
    assert (row.delta, row.effect) == (0, "local")
