"""Rewriting and swapping in small modules written for what could go wrong there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import surgery
from surgery.errors import ShapeMismatchError
from surgery.excision import Excision

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
Form = Callable[["Block", Tensor], Any]


class Block(nn.Module):
    """Two layers, and a forward that is a function it is given."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.full((4,), 0.5))
        self.form = form

    def forward(self, x: Tensor) -> Any:
        return self.form(self, x)


class Model(nn.Module):
    """A block between two layers; reads what the block was given once more."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(4, 4)
        self.block = Block(form)
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y: Tensor = self.block(x)
        found: Tensor = self.last(y + 2 * x)
        return found


def plain(m: Block, x: Tensor) -> Any:
    return x + m.a(x)


def in_place(m: Block, x: Tensor) -> Any:
    y: Tensor = m.a(x)
    y += x
    return y


def then_in_place(m: Block, x: Tensor) -> Any:
    y = x + m.a(x)
    return y.relu_()


def with_alpha(m: Block, x: Tensor) -> Any:
    return torch.add(m.a(x), x, alpha=3)


def into_the_branch_which_is_read_again(m: Block, x: Tensor) -> Any:
    y: Tensor = m.a(x)
    z = y
    z += x
    return F.relu(y) + m.b(z)


def scaled(m: Block, x: Tensor) -> Any:
    return x + m.scale * m.a(x)


def joined(m: Block, x: Tensor) -> Any:
    return torch.cat([m.a(x), m.b(x)], dim=-1)[:, 2:6]


def on_sizes(m: Block, x: Tensor) -> Any:
    y: Tensor = m.a(x) if x.shape[0] > 1 else m.b(x)
    return x + y


FORMS = [
    *(plain, in_place, then_in_place, with_alpha, scaled, on_sizes),
    into_the_branch_which_is_read_again,
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("part", ["branch", "skip"])
@pytest.mark.parametrize("mode", ["zero", "mean", "constant"])
def test_a_rewritten_block_gives_what_the_cut_gives(
    form: Form, part: str, mode: str
) -> None:
    model = Model(form)
    target = f"block:{part}#0"
    data = (X, torch.zeros(3)) if mode == "mean" else None
    made = surgery.excise(model, target, mode, inputs=X, data=data)
    with surgery.ablate(model, target, mode, inputs=X, data=data):
        wanted = model(X), model(X[:2])
    assert torch.equal(made(X), wanted[0])
    assert torch.equal(made(X[:2]), wanted[1])


def how(model: nn.Module) -> list[str]:
    report = model.excision
    assert isinstance(report, Excision)
    return [row.how for row in report]


@pytest.mark.parametrize("form", [plain, in_place, then_in_place, scaled])
def test_dropping_a_branch_removes_its_layer_and_the_add(form: Form) -> None:
    made = surgery.excise(Model(form), "block:branch", inputs=X)
    block: Any = made.get_submodule("block")
    assert how(made) == ["rewritten"]
    assert not hasattr(block, "a") and hasattr(block, "b")
    assert "add" not in block.code and "+" not in block.code


def test_code_that_branches_on_sizes_keeps_both_ways() -> None:
    made = surgery.excise(Model(on_sizes), "block:branch", inputs=X)
    assert how(made) == ["cut built in"]
    model = Model(on_sizes)
    with surgery.ablate(model, "block:branch", inputs=X):
        wanted = model(X[:1])
    assert torch.equal(made(X[:1]), wanted)


def test_an_operand_of_a_concatenation_is_computed_no_more() -> None:
    model = Model(joined)
    made = surgery.excise(model, "block:cat#0.arg0", inputs=X)
    with surgery.ablate(model, "block:cat#0.arg0", inputs=X):
        wanted = model(X)
    assert torch.equal(made(X), wanted)
    assert how(made) == ["rewritten"]
    assert not hasattr(made.get_submodule("block"), "a")


class Reader(nn.Module):
    """Uses a layer's weights and not only the layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Linear(4, 4)
        self.b = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.b(self.a(x)) * self.a.weight.mean()
        return found


def test_a_module_whose_weights_are_read_elsewhere_stays() -> None:
    model = Reader()
    made = surgery.excise(model, "a", inputs=X)
    with surgery.ablate(model, "a"):
        assert torch.equal(made(X), model(X))
    assert how(made) == ["cut built in"]
    assert "weight" in str(made.excision)


class Written(nn.Module):
    """Writes into what a layer gave."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Linear(4, 4)
        self.b = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(x)
        y: Tensor = self.a(x)
        y.relu_()
        return x + y


def test_a_copy_is_passed_on_where_it_is_written_into() -> None:
    model = Written()
    made = surgery.excise(model, "a", "identity", inputs=X)
    hidden = model.b(X)
    assert torch.equal(made(X), hidden + hidden.relu())
    assert how(made) == ["swapped"]
    assert type(made.a) is not nn.Identity


def test_nn_identity_stands_where_it_fits() -> None:
    made = surgery.excise(Model(plain), "last", "zero", inputs=X)
    assert torch.equal(made(X), torch.zeros(3, 2))
    made = surgery.excise(Model(plain), "first", "identity", inputs=X)
    assert type(made.first) is nn.Identity


def test_a_shared_module_goes_from_all_its_places() -> None:
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    made = surgery.excise(model, "0", inputs=X)
    assert torch.equal(made(X), torch.zeros(3, 4))
    assert list(made.parameters()) == []


def test_one_call_of_a_shared_module_is_cut() -> None:
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    made = surgery.excise(model, "0@0", "identity", inputs=X)
    assert torch.equal(made(X), shared(X.relu()))
    assert how(made) == ["cut built in"]


@pytest.mark.parametrize(
    ("layer", "shape", "others"),
    [
        (nn.Linear(5, 3), (2, 7, 5), [(3, 9, 5)]),
        (nn.Conv2d(3, 4, 3, stride=2, padding=1), (2, 3, 9, 8), [(1, 3, 12, 5)]),
        (nn.Conv2d(3, 4, 5, padding="same"), (2, 3, 9, 8), [(4, 3, 7, 7)]),
        (nn.ConvTranspose2d(3, 4, 2, stride=2), (2, 3, 4, 4), [(2, 3, 5, 7)]),
        (nn.MaxPool2d(3, 2, 1), (2, 3, 9, 8), [(1, 3, 4, 16)]),
        (nn.AdaptiveAvgPool2d(1), (2, 3, 9, 8), [(1, 3, 4, 16)]),
        (nn.BatchNorm2d(3), (2, 3, 9, 8), [(1, 3, 4, 16)]),
        (
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2)),
            (2, 3, 5, 5),
            [(4, 3, 5, 5), (1, 3, 9, 5)],
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_zeros_have_the_shape_that_the_module_would_have_given(
    layer: nn.Module, shape: tuple[int, ...], others: list[tuple[int, ...]]
) -> None:
    model = nn.Sequential(layer).eval()
    made = surgery.excise(model, "0", inputs=torch.randn(shape))
    for given in (shape, *others):
        x = torch.randn(given)
        assert torch.equal(made(x), torch.zeros_like(model(x)))


def test_a_size_that_cannot_be_followed_is_refused() -> None:
    layer = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2))
    made = surgery.excise(nn.Sequential(layer), "0", inputs=torch.randn(2, 3, 5, 5))
    with pytest.raises(ShapeMismatchError, match="excise with inputs="):
        made(torch.randn(2, 3, 5, 9))
