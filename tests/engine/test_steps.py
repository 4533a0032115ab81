"""How a model is run on a batch, and which outputs have failed."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from surgery.engine._steps import default_step, failed_samples, main_output
from surgery.errors import DataError

X, Y = torch.arange(12.0).reshape(6, 2), torch.arange(6)
NAN, INF = float("nan"), float("inf")


class Sum(nn.Module):
    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        return x if other is None else x + other


class Language(nn.Module):
    """As a Hugging Face model: a config, `can_generate`, logits in a mapping."""

    def __init__(self, generates: bool, encodes: bool = False) -> None:
        super().__init__()
        self.config = SimpleNamespace(is_encoder_decoder=encodes)
        self.generates = generates
        self.given: set[str] = set()

    def can_generate(self) -> bool:
        return self.generates

    def forward(self, **fields: Tensor) -> Mapping[str, Tensor]:
        self.given = set(fields)
        ids = fields["input_ids"]
        return {"logits": nn.functional.one_hot(ids, 9).float()}


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        ((X, Y), X),
        ([X, Y], X),
        (((X, X), Y), 2 * X),
        ([[X, X], Y], 2 * X),  # a DataLoader makes lists of tuples
        (({"x": X, "other": X}, Y), 2 * X),
        ({"x": X, "other": X, "labels": Y}, 2 * X),
    ],
)
def test_every_form_of_batch_is_run(batch: Any, expected: Tensor) -> None:
    outputs, labels = default_step(Sum(), batch)
    assert torch.equal(outputs, expected)
    assert labels is Y


def test_a_list_of_images_is_one_argument() -> None:
    class Count(nn.Module):
        def forward(self, images: list[Tensor]) -> Tensor:
            return torch.tensor([len(images)])

    images = [torch.zeros(3, 4, 4), torch.zeros(3, 5, 4)]
    outputs, _ = default_step(Count(), (images, torch.zeros(2)))
    assert outputs.tolist() == [2]


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (X, "a batch is a Tensor"),
        ((X,), "a tuple of 1"),
        ((X, X, Y), "a tuple of 3"),
        ({"x": X, "y": Y}, r"no 'labels' but \['x', 'y'\]"),
    ],
)
def test_other_batches_are_refused_with_step(batch: Any, message: str) -> None:
    with pytest.raises(DataError, match=message + ".*step="):
        default_step(Sum(), batch)


def test_a_causal_language_model_is_scored_on_the_next_token() -> None:
    ids = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    batch = {"input_ids": ids, "labels": ids}
    outputs, labels = default_step(Language(generates=True), batch)
    assert outputs.argmax(-1).tolist() == ids[:, :-1].tolist()
    assert labels.tolist() == ids[:, 1:].tolist()


def test_other_language_models_are_scored_in_place() -> None:
    ids = torch.tensor([[1, 2, 3, 4]])
    batch = {"input_ids": ids, "labels": ids}
    outputs, labels = default_step(Language(generates=False), batch)
    assert main_output(outputs).shape == (1, 4, 9) and labels is ids


def test_an_encoder_decoder_is_given_its_labels() -> None:
    ids = torch.tensor([[1, 2, 3, 4]])
    model = Language(generates=True, encodes=True)
    _, labels = default_step(model, {"input_ids": ids, "labels": ids})
    assert model.given == {"input_ids", "labels"} and labels is ids


def test_real_language_models_are_shifted_only_if_causal() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2
    )
    ids = torch.randint(0, 20, (2, 6), generator=torch.Generator().manual_seed(0))
    for name, width in (("GPT2LMHeadModel", 5), ("GPT2ForTokenClassification", 6)):
        model = getattr(transformers, name)(config).eval()
        outputs, labels = default_step(model, {"input_ids": ids, "labels": ids})
        assert main_output(outputs).shape[:2] == (2, width) == labels.shape


def test_the_main_output_is_found() -> None:
    named = SimpleNamespace(logits=X, loss=torch.tensor(1.0))
    for outputs in (X, named, {"logits": X}, (Y, X), [{"a": Y}, {"b": X}]):
        assert main_output(outputs) is X
    assert main_output(Y) is Y


@pytest.mark.parametrize("outputs", [None, [Y], {"a": "text"}, 3])
def test_outputs_without_a_tensor_are_refused(outputs: Any) -> None:
    with pytest.raises(DataError, match=r"no floating point tensor.*step="):
        main_output(outputs)


def test_nan_infinity_and_rows_of_nothing_but_minus_infinity_fail() -> None:
    rows = torch.tensor(
        [[1, 2], [NAN, 2], [INF, 2], [-INF, 2], [-INF, -INF], [INF, NAN]]
    )
    expected = [False, True, True, False, True, True]
    assert failed_samples(rows).tolist() == expected
    assert failed_samples({"logits": rows.reshape(6, 2, 1)}).tolist() == expected
    assert failed_samples(Y).tolist() == [False] * 6


def test_items_of_detectors_fail_one_by_one() -> None:
    fine = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    bad = {"boxes": torch.full((1, 4), NAN), "labels": torch.ones(1)}
    assert failed_samples([fine, bad, fine]).tolist() == [False, True, False]


def test_outputs_without_any_tensor_have_not_failed() -> None:
    assert failed_samples(["a", "b"]).tolist() == [False, False]
