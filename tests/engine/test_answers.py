"""A model that returns what is known of it, in place of running."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from surgery.engine._answers import answering, asked, one_call
from surgery.errors import BackendError


@pytest.fixture
def model() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 3), nn.ReLU()).eval()


def test_a_model_returns_the_answer_and_then_runs_again(model: nn.Sequential) -> None:
    x = torch.ones(2, 3)
    before = model(x)
    with answering(model, lambda x: x + 1):
        assert torch.equal(model(x), x + 1)
    assert torch.equal(model(x), before)
    assert "forward" not in model.__dict__


def test_a_forward_of_the_instance_comes_back(model: nn.Sequential) -> None:
    def own(x: Tensor) -> Tensor:
        return -x

    model.__dict__["forward"] = own
    with pytest.raises(ZeroDivisionError), answering(model, lambda x: 1 / 0):
        model(torch.ones(1))
    assert model.__dict__["forward"] is own


def test_a_step_is_asked_what_it_gives_the_model(model: nn.Sequential) -> None:
    x = torch.ones(2, 3)
    found = asked(model, lambda: model(x).sum())
    assert found.args[0] is x
    assert found.kwargs == {}


def test_a_step_that_catches_errors_is_asked_too(model: nn.Sequential) -> None:
    x = torch.ones(2, 3)

    def step() -> Any:
        try:
            return model(x)
        except Exception:
            return None

    assert asked(model, step).args[0] is x


def test_a_step_without_the_model_is_told(model: nn.Sequential) -> None:
    with pytest.raises(BackendError, match="does not call the model"):
        asked(model, lambda: model[0](torch.ones(2, 3)))


def test_one_call_of_the_model_is_what_answers_stand_for(model: nn.Sequential) -> None:
    with one_call(model) as reasons:
        model(torch.ones(2, 3))
    assert reasons == []


def test_parts_called_by_themselves_are_noticed(model: nn.Sequential) -> None:
    with one_call(model) as reasons:
        model[0](model(torch.ones(2, 3)))
    assert "parts of the model by themselves" in reasons[0]


def test_a_second_call_is_noticed(model: nn.Sequential) -> None:
    with one_call(model) as reasons:
        model(model(torch.ones(2, 3)))
    assert "calls the model 2 times" in reasons[0]


def test_nothing_stays_on_the_model(model: nn.Sequential) -> None:
    with one_call(model):
        model(torch.ones(2, 3))
    assert not model._forward_hooks
    assert not nn.modules.module._global_forward_pre_hooks
