"""Blocks: how many, how large, and that any of them together are their samples."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from surgery.engine._blocks import MAX_BLOCKS, Blocks, Reduction, Rule

RULES: dict[str, Reduction] = {
    "sum": Reduction("sum"),
    "mean": Reduction("mean"),
    "max": Reduction("max"),
    "min": Reduction("min"),
    "cat": Reduction("cat", listed=True),
    "cat_tensor": Reduction("cat"),
    "listed": Reduction("keep", listed=True),
}


def filled(batches: list[int], total: int | None = None) -> Blocks:
    """Sample i has the value i; every run is reduced as a metric would."""
    blocks = Blocks(RULES, total)
    start = 0
    for length in batches:
        values = torch.arange(start, start + length).double()
        for a, b in blocks.runs(length):
            run = values[a:b]
            state: dict[str, Any] = {
                "sum": run.sum(),
                "mean": run.mean(),
                "max": run.max(),
                "min": run.min(),
                "cat": [run],
                "cat_tensor": run,
                "listed": list(run),
            }
            blocks.append(state, b - a)
        start += length
    return blocks


@given(st.lists(st.integers(1, 90), min_size=1, max_size=30), st.booleans())
def test_blocks_are_50_to_200_contiguous_runs(sizes: list[int], known: bool) -> None:
    n = sum(sizes)
    blocks = filled(sizes, n if known else None)
    assert min(n, 50) <= len(blocks) <= MAX_BLOCKS
    assert sum(blocks.counts) == n
    assert set(blocks.counts[:-1]) <= {blocks.size}
    bounds = np.cumsum([0, *blocks.counts])
    for index in (0, len(blocks) // 2, len(blocks) - 1):
        (run,) = blocks.state(np.array([index]))["cat"]
        assert run.tolist() == list(range(bounds[index], bounds[index + 1]))


@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=12),
    st.lists(st.integers(0, 10**6), min_size=1, max_size=300),
)
def test_any_multiset_of_blocks_is_its_samples(
    sizes: list[int], draws: list[int]
) -> None:
    blocks = filled(sizes)
    chosen = np.array(draws) % len(blocks)
    bounds = np.cumsum([0, *blocks.counts])
    samples = torch.cat(
        [torch.arange(bounds[i], bounds[i + 1]).double() for i in chosen]
    )
    state = blocks.state(chosen)
    assert state["sum"] == samples.sum()
    assert float(state["mean"]) == pytest.approx(float(samples.mean()))
    assert state["max"] == samples.max()
    assert state["min"] == samples.min()
    assert torch.equal(torch.cat(state["cat"]), samples)
    assert torch.equal(state["cat_tensor"], samples)
    assert torch.equal(torch.stack(state["listed"]), samples)


@pytest.mark.parametrize("total", [1, 49, 50, 200, 201, 399, 400, 50_000])
def test_a_known_total_fixes_the_size(total: int) -> None:
    blocks = Blocks({"sum": Reduction("sum")}, total)
    size = blocks.size
    count = -(-total // size)
    assert min(total, 50) <= count <= MAX_BLOCKS


def test_a_total_that_was_too_low_does_no_harm() -> None:
    blocks = filled([90] * 30, total=60)
    assert 50 <= len(blocks) <= MAX_BLOCKS
    assert blocks.state(np.arange(len(blocks)))["sum"] == sum(range(2700))


@pytest.mark.parametrize("rule", ["sum", "max", "min", "mean"])
def test_integers_of_sparse_and_dense_blocks_reduce_alike(rule: Rule) -> None:
    blocks = Blocks({"x": Reduction(rule)})
    rng = torch.Generator().manual_seed(0)
    states = []
    for index in range(6):
        state = torch.randint(0, 9, (10, 10), generator=rng)
        if index % 2:
            state = torch.zeros(10, 10, dtype=torch.long)
            state[index, index] = 300 + index
        states.append(state)
        blocks.append({"x": state}, 1)
    chosen = np.array([0, 1, 1, 5])
    stacked = torch.stack([states[index] for index in chosen])
    expected = {
        "sum": stacked.sum(0),
        "max": stacked.amax(0),
        "min": stacked.amin(0),
        "mean": stacked.double().mean(0).long(),
    }[rule]
    found = blocks.state(chosen)["x"]
    assert found.dtype == torch.int64 and torch.equal(found, expected)


def test_forgetting_changes_no_answer() -> None:
    blocks = filled([10])
    before = blocks.state(np.arange(3))["sum"]
    blocks.forget()
    assert blocks.state(np.arange(3))["sum"] == before
