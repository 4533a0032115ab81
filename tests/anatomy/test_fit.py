"""Every adapter against the same thing computed by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import surgery
from surgery.anatomy import adapt, find_fit
from surgery.anatomy._fit import _SHAPERS
from surgery.errors import ShapeMismatchError


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def wider(x: Tensor, axis: int, size: int) -> Tensor:
    shape = list(x.shape)
    shape[axis] = size - shape[axis]
    return torch.cat([x, torch.zeros(shape)], axis)


def by_hand(name: str) -> list[tuple[Tensor, Tensor]]:
    """Pairs of an input and what should come of it."""
    maps, tokens, last = randn(2, 3, 8, 6), randn(2, 6, 4), randn(2, 8, 8, 3)
    pooled = maps.view(2, 3, 4, 2, 3, 2).mean((3, 5))
    pooled_last = last.view(2, 4, 2, 4, 2, 3).mean((2, 4))
    by_name = {
        "yes": [(maps, maps)],
        "pad last axis": [
            (tokens, wider(tokens, 2, 7)),
            (tokens, tokens[..., :2]),
            (randn(2, 5), wider(randn(2, 5), 1, 9)),
        ],
        "pad channels": [(maps, wider(maps, 1, 5)), (maps, maps[:, :2])],
        "pool space": [(maps, wider(pooled, 1, 7)), (maps, pooled)],
        "pool space (channels last)": [
            (last, pooled_last),
            (last, wider(pooled_last, 3, 6)),
        ],
        "pool tokens": [
            (tokens, tokens.view(2, 3, 2, 4).mean(2)),
            (tokens, wider(tokens.view(2, 3, 2, 4).mean(2), 2, 5)),
        ],
        "pool to vector": [
            (maps, maps.mean((2, 3))),
            (maps, wider(maps.mean((2, 3)), 1, 10)),
            (tokens, tokens.mean(1)),
            (last, last.mean((1, 2))),
        ],
        "grid to tokens": [
            (
                randn(2, 3, 8, 8),
                wider(
                    F.avg_pool2d(randn(2, 3, 8, 8), 2).flatten(2).transpose(1, 2), 2, 5
                ),
            ),
            (last, pooled_last.flatten(1, 2)),
        ],
        "reshape": [(maps, maps.reshape(2, 144)), (tokens, tokens.reshape(2, 1, 4, 6))],
    }
    return by_name[name]


@pytest.mark.parametrize("name", list(_SHAPERS))
def test_an_adapter_computes_what_its_name_says(name: str) -> None:
    for x, wanted in by_hand(name):
        fit = find_fit([x], torch.empty_like(wanted))
        assert fit is not None and fit.adapter == name
        got = adapt(x, torch.empty_like(wanted), fit.adapter)
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ((2, 3, 8, 8), (2, 5, 4)),  # five tokens are no grid
        ((2, 3, 4, 4, 4), (2, 3, 2, 2, 2)),
        ((2, 3), (4, 6)),  # another number of samples
        ((2,), (2, 3)),
        ((0, 3), (0, 4)),
        ((2, 3, 8), (2, 3, 8, 8)),
    ],
)
def test_what_has_no_adapter_does_not_fit(
    given: tuple[int, ...], wanted: tuple[int, ...]
) -> None:
    assert find_fit([torch.zeros(given)], torch.zeros(wanted)) is None


def test_an_input_of_the_same_shape_wins_wherever_it_stands() -> None:
    a, b = torch.zeros(2, 5), torch.zeros(2, 3)
    fit = find_fit([torch.zeros(2, 3).long(), a, b], torch.zeros(2, 3))
    assert fit is not None and (fit.index, fit.adapter) == (2, "yes")


def test_integers_stand_in_for_integers_only() -> None:
    index = torch.zeros(2, 3).long()
    assert find_fit([index], torch.zeros(2, 3)) is None
    fit = find_fit([torch.zeros(2, 3), index], index)
    assert fit is not None and fit.index == 1
    assert find_fit([torch.zeros(2, 3)], index) is None


def test_an_adapted_identity_names_its_adapter_and_strict_refuses_it() -> None:
    model = nn.Sequential(nn.Linear(5, 3), nn.ReLU())
    x = randn(2, 5)
    with surgery.ablate(model, "0", "identity") as op:
        assert torch.equal(model(x), x[:, :3].relu())
        assert next(iter(op.effect())).note == "adapter: pad last axis"
    with (
        pytest.raises(ShapeMismatchError, match=r"\(2, 5\) float32 and returns \(2, 3"),
        surgery.ablate(model, "0", "identity", strict=True),
    ):
        model(x)
    with surgery.ablate(model, "1", "identity", strict=True) as op:
        model(x)
        assert next(iter(op.effect())).note == ""


def test_an_embedding_has_no_identity() -> None:
    model = nn.Sequential(nn.Embedding(9, 3))
    with (
        pytest.raises(ShapeMismatchError, match="use mode='zero' or mode='mean'"),
        surgery.ablate(model, "0", "identity"),
    ):
        model(torch.zeros(2, 3).long())


def test_the_stand_in_takes_the_output_s_type() -> None:
    x = randn(2, 3)
    assert adapt(x, torch.zeros(2, 3).half(), "yes").dtype == torch.float16
