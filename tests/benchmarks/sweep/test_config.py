"""The config of the sweep benchmark: cases by name, bounds on cases."""

from __future__ import annotations

import pytest

from benchmarks.sweep.config import Bound, Case, load_config


@pytest.mark.parametrize(
    "text",
    ["resnet18 branches 32 px b8", "resnet50 leaves 224 px b1 folder 32"],
)
def test_a_case_is_its_name(text: str) -> None:
    assert Case.parse(text).name == text


def test_a_name_that_is_no_case_says_how_cases_are_spelled() -> None:
    with pytest.raises(ValueError, match=r"write 'MODEL PARTS PIXELS px bBATCH'"):
        Case.parse("resnet18 tails 32 px b8")


def test_every_bound_is_about_a_default_case() -> None:
    config = load_config()
    names = [case.name for case in config.default]
    for bound in config.bounds:
        assert any(map(bound.covers, names)), bound


def test_the_grid_has_no_heads_of_convolutional_models() -> None:
    heads = {case.model for case in load_config().grid if case.parts == "heads"}
    assert heads == {"swin_t", "vit_s", "gpt2"}


def test_a_bound_of_folders_is_not_about_one_batch() -> None:
    bound = Bound("resnet18 branches 32 px b8 folder *", "usual", 5.0)
    assert bound.covers("resnet18 branches 32 px b8 folder 256")
    assert not bound.covers("resnet18 branches 32 px b8")
