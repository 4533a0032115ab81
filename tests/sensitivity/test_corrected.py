"""`method="corrected"` against exact effects, which it samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import surgery
from surgery.errors import OperationError
from surgery.measurement import Plan
from surgery.sensitivity._corrected import Drawn, corrected
from surgery.sensitivity._deck import Deck
from tests.sensitivity.conftest import Net
from tests.sensitivity.test_scores import Saturated, by_name, scores

Pair = tuple[Tensor, Tensor]
PARTS = ["blocks.*", "blocks.*:branch", "stem:channel#0-2", "stem:channel#3"]


def exact(model: nn.Module, data: Any, **options: Any) -> dict[str, Any]:
    ranking = surgery.rank(
        model, data, PARTS, metric="cross_entropy", progress=False, **options
    )
    return {row.component: row for row in ranking}


@pytest.mark.parametrize("mode", ["zero", "mean", "noise", "resample"])
def test_with_as_many_forwards_as_components_it_is_exact(
    model: Net, pairs: Pair, mode: str
) -> None:
    data = [(pairs[0][:48], pairs[1][:48]), (pairs[0][48:], pairs[1][48:])]
    found = scores(model, data, PARTS, method="corrected", points=99, mode=mode)
    truth = exact(model, data, mode=mode)
    assert len(found) == len(truth) == 8
    for row in found:
        wanted = truth[row.component]
        assert row.n == wanted.n == 80
        assert math.isclose(row.score, wanted.delta, rel_tol=1e-3, abs_tol=1e-6)
        for end in ("low", "high", "p"):
            ours, theirs = getattr(row, end), getattr(wanted, end)
            assert math.isclose(ours, theirs, rel_tol=1e-2, abs_tol=1e-5)


def test_few_forwards_are_right_on_average_where_slopes_are_not(
    model: Net, pairs: Pair
) -> None:
    truth = exact(model, pairs)
    slopes = by_name(scores(model, pairs, PARTS))
    drawn = [
        by_name(scores(model, pairs, PARTS, method="corrected", points=1, seed=seed))
        for seed in range(24)
    ]
    biased = 0
    for name, row in truth.items():
        values = np.array([found[name] for found in drawn])
        error = float(values.std(ddof=1)) / math.sqrt(len(values))
        assert abs(values.mean() - row.delta) < 4 * error
        biased += abs(slopes[name] - row.delta) > 4 * error
    assert biased >= 4  # else this shows nothing


def test_its_error_is_that_of_slopes_and_corrections_together() -> None:
    """Samples drawn anew, some measured: the truth is within nearly all intervals."""
    generator = np.random.default_rng(0)
    inside, errors, values = 0, [], []
    for _ in range(400):
        slopes = generator.standard_normal((1, 60))
        effects = 0.7 * slopes + 1 + 0.5 * generator.standard_normal((1, 60))
        measured = np.zeros((1, 60))
        measured[0, generator.permutation(60)[:20]] = 1
        drawn = Drawn()
        ones = torch.ones(60)
        drawn.slopes.add(torch.from_numpy(slopes), ones)
        drawn.effects.add(torch.from_numpy(effects * measured), ones)
        drawn.measured.add(torch.from_numpy(measured), ones)
        plan: Any = Plan(["a"], [None], [])  # type: ignore[list-item]
        (row,) = corrected(plan, [""], drawn, surgery.Evidence())
        assert row.n == 20
        inside += row.low <= 1 <= row.high
        errors.append(row.error)
        values.append(row.score)
    assert 0.92 <= inside / 400 <= 0.98
    assert math.isclose(np.mean(errors), np.std(values), rel_tol=0.1)


def test_weights_of_samples_count_for_slopes_and_corrections(
    model: Net, pairs: Pair
) -> None:
    """Labels that are left out weigh nothing, in the mean and in the correction."""
    labels = pairs[1].clone()
    labels[::4] = -100
    found = scores(model, (pairs[0], labels), PARTS, method="corrected", points=99)
    truth = exact(model, (pairs[0], labels))
    for row in found:
        wanted = truth[row.component].delta
        assert math.isclose(row.score, wanted, rel_tol=1e-3, abs_tol=1e-6)
        assert row.n == 60


def test_it_finds_what_taylor_misses_in_a_saturated_softmax() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 3, dtype=torch.float64, generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Saturated().double().eval()
    with torch.no_grad():
        data = x, model(x) * 1.2
    found = scores(
        model, data, ["gate", "value"], method="corrected", metric="mse", check=2
    )
    gate = next(row for row in found if row.component == "gate")
    assert gate.low > 0.01
    assert found.check["missed"] == []
    assert found.check["spearman"] == pytest.approx(1)
    assert "corrected by exact effects" in str(found)
    assert found.provenance["points"] == 8


def test_too_few_samples_ask_for_more_forwards(model: Net, pairs: Pair) -> None:
    few = pairs[0][:5], pairs[1][:5]
    options: dict[str, Any] = {"method": "corrected", "targets": PARTS}
    with pytest.raises(OperationError, match=r"5 samples.*8 components.*points=5"):
        scores(model, few, points=1, **options)
    assert min(row.n for row in scores(model, few, points=5, **options)) >= 2


def test_a_sample_on_which_a_component_is_needed_counts_against_it(
    model: Net, pairs: Pair
) -> None:
    class Needs(Net):
        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(x)
            kept = self.head.weight.abs().sum()
            return torch.where(out.abs().sum(1, keepdim=True) > 0, out, kept * math.inf)

    found = scores(Needs().eval(), pairs, "head", method="corrected")
    (row,) = found
    assert math.isnan(row.score) and "not finite on 80 samples" in row.note


@pytest.mark.parametrize(
    ("rows", "samples", "forwards"), [(7, 30, 3), (30, 4, 2), (5, 5, 5), (1, 3, 1)]
)
def test_a_deck_gives_every_row_its_share(
    rows: int, samples: int, forwards: int
) -> None:
    deck = Deck(rows, seed=1)
    counts = np.zeros(rows, dtype=int)
    batches = 4 * rows
    for _ in range(batches):
        dealt = deck.deal(samples, forwards)
        assert len(dealt) == forwards and all(len(one) == samples for one in dealt)
        held = [row for one in dealt for row in set(one.tolist())]
        assert len(held) == len(set(held))  # in one forward only
        for one in dealt:
            counts += np.bincount(one, minlength=rows)
    share = batches * samples * forwards / rows
    assert counts.sum() == batches * samples * forwards
    assert abs(counts - share).max() <= 0.25 * share
    again = Deck(rows, seed=1).deal(samples, forwards)
    assert all(map(np.array_equal, again, Deck(rows, seed=1).deal(samples, forwards)))
