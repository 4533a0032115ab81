"""Outputs come pass by pass, when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from surgery_backends._outputs import Outputs

Passes = list[Mapping[int | None, Any]]


def outputs_of(expected: list[int], passes: Passes) -> Outputs:
    """Takes passes off the list as they are run."""
    return Outputs(expected, lambda: passes.pop(0) if passes else None)


def test_a_pass_runs_when_one_of_its_variants_is_asked_for() -> None:
    passes: Passes = [{None: "base", 0: "a"}, {1: "b", 2: "c"}, {3: "d"}]
    outputs = outputs_of([0, 1, 2, 3], passes)
    assert list(outputs) == [None, 0, 1, 2, 3]
    assert len(outputs) == 5
    assert (outputs[None], outputs[0]) == ("base", "a")
    assert len(passes) == 2
    assert (outputs[1], outputs[2], outputs[None]) == ("b", "c", "base")
    assert len(passes) == 1


def test_what_was_let_go_of_does_not_run_the_passes_that_are_left() -> None:
    passes: Passes = [{None: "base", 0: "a"}, {1: "b"}, {2: "c"}]
    outputs = outputs_of([0, 1, 2], passes)
    assert outputs[1] == "b"
    assert 0 not in outputs
    assert 7 not in outputs
    assert len(passes) == 1
    assert outputs[2] == "c"


def test_a_variant_left_out_of_its_pass_does_not_cost_the_others_theirs() -> None:
    expected = [0, 1, 2]

    def running() -> Iterator[Mapping[int | None, Any]]:
        yield {None: "base", 0: "a"}
        expected.remove(1)  # it failed
        yield {2: "c"}

    each = running()
    outputs = Outputs(expected, lambda: next(each, None))
    assert 1 not in outputs
    assert outputs[2] == "c"


def test_what_never_comes_is_a_missing_key() -> None:
    outputs = outputs_of([0, 1], [{None: "base", 0: "a"}])
    with pytest.raises(KeyError):
        outputs[1]
