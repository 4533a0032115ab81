"""A recorded forward tells of the model itself, whatever is in effect on it."""

from __future__ import annotations

import pytest
import timm
import torch

import surgery
from surgery.anatomy import Kind
from surgery.errors import NoEffectError

X = torch.randn(2, 3, 32, 32)


@pytest.mark.parametrize("mode", ["zero", "noise"])
def test_a_list_of_components_is_the_same_while_something_is_ablated(mode: str) -> None:
    model = timm.create_model("test_vit", img_size=32).eval()
    kinds: list[Kind] = ["module", "skip", "branch", "function", "head"]
    before = surgery.components(model, X, kinds=kinds)
    targets = ["blocks.0:skip", "blocks.1:branch#0", "blocks.2.attn:head#1", "input"]
    with surgery.ablate(model, [*targets, "blocks.3"], mode, inputs=X) as op:
        during = surgery.components(model, X, kinds=kinds)
        assert list(during) == list(before)
        assert [p.facts for p in during] == [p.facts for p in before]
        assert [row.fired for row in op.effect()] == [0] * 6
        model(X)
        assert [row.fired for row in op.effect(strict=True)] == [1] * 6


def test_a_forward_that_only_looks_is_no_run_without_effect() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    op = surgery.ablate(model, "0")
    surgery.components(model, torch.ones(1, 2))
    op.restore()  # nothing ran: nothing is missed
    op = surgery.ablate(model, "0")
    surgery.components(model, torch.ones(1, 2))
    with pytest.raises(NoEffectError, match="never took part"):
        op.effect(strict=True)
    op.restore()


def test_call_sites_stay_countable_while_a_model_is_looked_at() -> None:
    act = torch.nn.ReLU()
    model = torch.nn.Sequential(act, torch.nn.Linear(2, 2), act)
    with surgery.ablate(model, "0@1"):
        found = {p.name: p for p in surgery.components(model, torch.ones(1, 2))}
        facts = found["0"].facts
        assert facts is not None and facts.calls == 2
        assert not model(torch.ones(1, 2)).any()
