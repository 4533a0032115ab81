"""The benchmark of what a cut costs: it restores everything, and would tell if not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import timm
import torch
from torch import nn

import surgery
from benchmarks.cuts.__main__ import Timed, hook_tables, operate_everywhere
from benchmarks.sections import write_section
from surgery.anatomy import Kind
from surgery.testing._models import Joins, Tokens
from surgery.testing._snapshot import snapshot


def test_after_an_operation_on_every_kind_hook_tables_are_empty() -> None:
    torch.manual_seed(0)
    image: nn.Module = timm.create_model("test_resnet", num_classes=2)
    models: list[tuple[Any, torch.Tensor]] = [
        (Tokens(), torch.randn(2, 5, 8)),
        (Joins(), torch.randn(2, 4)),
        (image, torch.randn(2, 3, 32, 32)),
    ]
    tried: set[str] = set()
    for model, x in models:
        model.eval()
        before = snapshot(model, [model(x).detach()])
        tried |= operate_everywhere(model, x)
        assert hook_tables(model) == []
        after = snapshot(model, [model(x).detach()])
        assert before.differences(after) == []
    assert tried == set(get_args(Kind))


def test_hook_tables_that_are_not_empty_are_told() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    with surgery.ablate(model, "0"):
        assert "0._forward_hooks" in hook_tables(model)
        model(torch.randn(1, 2))


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    timed = Timed({"untouched": [1.0, 2.0, 4.0], "restored": [1.1, 2.0, 6.0]})
    assert timed.ratio("restored") == 1.1


def test_a_section_of_the_results_is_replaced_and_the_others_stay(
    tmp_path: Path,
) -> None:
    page = tmp_path / "RESULTS.md"
    write_section("One", "a", page)
    write_section("Two", "b", page)
    write_section("One", "c", page)
    assert page.read_text() == "# Measured\n\n## One\n\nc\n\n## Two\n\nb\n"
