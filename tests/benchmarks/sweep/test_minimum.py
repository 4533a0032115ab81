"""The least FLOPs, against counts by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.sweep.minimum import flops_of, least_flops
from benchmarks.sweep.parts import Part

ROWS, WIDTH = 3, 8
ONE = 2 * ROWS * WIDTH * WIDTH
"""FLOPs of one linear layer."""


class Residual(nn.Module):
    """x + act(a(x)), then b."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(WIDTH, WIDTH)
        self.same = nn.Identity()
        self.act = nn.ReLU(inplace=True)
        self.b = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.b(x + self.act(self.a(self.same(x))))
        return out


def parts(*paths: str) -> list[Part]:
    return [Part(path, path) for path in paths]


def test_a_chain_is_counted_from_where_each_variant_begins() -> None:
    model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(4)))
    x = torch.randn(ROWS, WIDTH)
    # The baseline: 4. Without 0: 3 more; 1: 2; 2: 1; 3: none.
    expected = (4 + 3 + 2 + 1 + 0) * ONE
    assert least_flops(model, x, parts("0", "1", "2", "3")) == expected


def test_in_place_functions_and_joins_hand_differences_on() -> None:
    x = torch.randn(ROWS, WIDTH)
    assert least_flops(Residual(), x, parts("a", "act")) == (2 + 1 + 1) * ONE


def test_a_module_that_hands_its_input_through_marks_only_what_comes_out_of_it() -> (
    None
):
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.same, self.a = nn.Identity(), nn.Linear(WIDTH, WIDTH)

        def forward(self, x: Tensor) -> Tensor:
            self.same(x)
            out: Tensor = self.a(x)
            return out

    x = torch.randn(ROWS, WIDTH)
    assert least_flops(Beside(), x, parts("same")) == ONE
    assert least_flops(Residual(), x, parts("same")) == (2 + 2) * ONE


def test_attention_on_cpu_is_counted() -> None:
    q = torch.randn(2, 4, 5, 8)
    with torch.no_grad():
        found = flops_of(lambda: nn.functional.scaled_dot_product_attention(q, q, q))
    assert found == 2 * 2 * 4 * 5 * 5 * (8 + 8)


def test_what_is_counted_leaves_no_hook_behind() -> None:
    model = Residual()
    least_flops(model, torch.randn(ROWS, WIDTH), parts("a"))
    assert not model.a._forward_hooks
