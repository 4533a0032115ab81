"""Our own draws: derived seeds, and global generators given back."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from surgery._random import derive, preserved_rng, seeded


def drawn() -> tuple[float, float, float]:
    return float(torch.rand(())), float(np.random.rand()), random.random()


def test_a_derived_seed_depends_on_seed_and_purpose_alone() -> None:
    assert derive(1, "noise", 2) == derive(1, "noise", 2)
    seeds = {derive(s, p, k) for s in range(5) for p in ("a", "b") for k in range(5)}
    assert len(seeds) == 50
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_names_that_touch_do_not_run_together() -> None:
    assert derive(0, "a", "bc") != derive(0, "ab", "c")


def test_a_seeded_block_repeats_itself() -> None:
    with seeded(3):
        first = drawn()
    with seeded(3):
        assert drawn() == first


@pytest.mark.parametrize("fails", [False, True])
def test_the_global_generators_come_back_whatever_happens(fails: bool) -> None:
    def state() -> tuple[object, ...]:
        return (
            torch.get_rng_state().tolist(),
            np.random.get_state(legacy=False)["state"]["key"].tolist(),
            random.getstate(),
        )

    before = state()
    try:
        with preserved_rng():
            torch.manual_seed(9)
            drawn()
            if fails:
                raise KeyError
    except KeyError:
        pass
    assert state() == before


def test_a_seed_queued_for_an_accelerator_is_not_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queued: list[object] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", queued.append)
    monkeypatch.setattr(torch.cuda, "_lazy_call", lambda *a, **k: queued.append(a))
    with seeded(3):
        seeded_draw = drawn()
    assert not queued
    torch.manual_seed(3)
    assert seeded_draw[0] == float(torch.rand(()))
    assert queued  # what `seeded` must not do
