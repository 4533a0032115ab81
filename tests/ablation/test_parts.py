"""Operations on parts of a module's own code, against forwards edited by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import surgery
from surgery.errors import NoEffectError, OperationError, TargetError

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(6, 4, generator=GENERATOR)
DATA = [torch.randn(5, 4, generator=GENERATOR), torch.randn(8, 4, generator=GENERATOR)]
BRANCH = "first:branch"
BATCHES = [(batch, None) for batch in DATA]


class Block(nn.Module):
    """Runs twice in `Model`; something follows its residual add."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(4, 8)
        self.down = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.joined(x, self.branch(x))

    def branch(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(torch.relu(self.up(x)))
        return out

    @staticmethod
    def joined(skip: Tensor, branch: Tensor) -> Tensor:
        return torch.tanh(skip + branch)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first = Block()
        self.twice = Block()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.twice(self.twice(self.first(x)))
        return out

    def by_hand(self, x: Tensor, new: Callable[[Tensor], Tensor]) -> Tensor:
        """With something else in the place of the first block's branch."""
        first = self.first.joined(x, new(self.first.branch(x)))
        out: Tensor = self.twice(self.twice(first))
        return out


def given(known: bool) -> dict[str, Any]:
    return {"inputs": X} if known else {}


@pytest.mark.parametrize("known", [True, False])
def test_the_mean_of_a_part_is_over_what_it_is_in_the_data(known: bool) -> None:
    model = Model()
    mean = torch.cat([model.first.branch(batch) for batch in DATA]).mean(0)
    truth = model.by_hand(X, lambda branch: mean.expand_as(branch))
    with surgery.ablate(model, "first:branch", "mean", data=BATCHES, **given(known)):
        torch.testing.assert_close(model(X), truth)


@pytest.mark.parametrize("known", [True, False])
def test_donors_of_a_part_are_what_it_is_for_other_samples(known: bool) -> None:
    model = Model()
    seen: list[Tensor] = []

    def look(output: Tensor, inputs: tuple[Any, ...]) -> Tensor:
        seen.append(output.clone())
        return output

    for data, pool in ((None, X), (BATCHES, torch.cat(DATA))):
        donors = model.first.branch(pool)
        seen.clear()
        with (
            surgery.ablate(
                model, "first:branch", "resample", data=data, **given(known)
            ),
            surgery.ablate(model, "first:branch", look, **given(known)),
        ):
            model(X)
        near = torch.cdist(seen[0], donors) < 1e-6
        assert near.any(1).all()
        if data is None:
            assert not near.diagonal().any()


@pytest.mark.parametrize("known", [True, False])
def test_the_mean_of_each_call_is_its_own(known: bool) -> None:
    model = Model()
    into = [[model.first(batch) for batch in DATA]]
    into.append([model.twice(x) for x in into[0]])
    means = [torch.cat([model.twice.branch(x) for x in xs]).mean(0) for xs in into]
    x = model.first(X)
    for mean in means:
        x = Block.joined(x, mean.expand_as(x))
    with surgery.ablate(model, "twice:branch", "mean", data=BATCHES, **given(known)):
        torch.testing.assert_close(model(X), x)
    second = model.twice(model.first(X))
    only = Block.joined(second, means[1].expand_as(second))
    target = "twice@1:branch"
    with surgery.ablate(model, target, "mean", data=BATCHES, **given(known)):
        torch.testing.assert_close(model(X), only)


@pytest.mark.parametrize("known", [True, False])
def test_a_function_of_the_user_sees_the_other_side(known: bool) -> None:
    model = Model()

    def instead(output: Tensor, inputs: tuple[Any, ...]) -> Tensor:
        (skip,) = inputs
        changed: Tensor = output + 2 * skip
        return changed

    truth = model.by_hand(X, lambda branch: branch + 2 * X)
    with surgery.ablate(model, "first:branch", instead, **given(known)):
        torch.testing.assert_close(model(X), truth)


def test_a_group_of_parts_is_undone_as_one() -> None:
    model = Model()
    before = model(X)
    group = ["first:branch", "twice@0:skip", "first.up:channel#0-3", "twice:relu"]
    with surgery.ablate(model, group, inputs=X) as op:
        assert not torch.equal(model(X), before)
        assert [row.fired for row in op.effect(strict=True)] == [1, 1, 1, 2]
    assert torch.equal(model(X), before)


def test_a_part_that_never_ran_is_told_afterwards_or_with_inputs_at_once() -> None:
    model = Model()
    for target in ("first.up:skip", "first:cat#0.arg0", "first:gate"):
        with (
            pytest.raises(NoEffectError, match="nothing like it ran in the own code"),
            surgery.ablate(model, target),
        ):
            model(X)
        with pytest.raises(
            TargetError, match=r"'first(.up)?' (performs|calls|has) no "
        ):
            surgery.ablate(model, target, inputs=X)


def test_what_makes_no_sense_on_an_identity_skip_is_told_when_that_is_known() -> None:
    model = Model()
    with pytest.raises(OperationError, match="makes no sense on first:skip"):
        surgery.ablate(model, "first:skip", "identity", inputs=X)
    with (
        pytest.raises(OperationError, match="makes no sense on first:skip"),
        surgery.ablate(model, "first:skip", "identity"),
    ):
        model(X)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
