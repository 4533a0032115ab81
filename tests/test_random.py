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
