"""Channels of modules: against a hook by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from surgery.anatomy import Component, Slice
from surgery.backend import get_backend
from surgery.errors import OperationError, ShapeMismatchError
from surgery.ops import Clock, Edit, as_operation
from surgery.ops._base import AbstractOutputOperation

G = torch.Generator().manual_seed(0)
IMAGES = torch.randn(2, 3, 6, 6, generator=G)


def channels(path: str, first: int, last: int) -> Component:
    name = f"{path}:channel#{first}-{last}"
    return Component(name, "channel", path, slice=Slice("channel", first, last))


def install(
    model: nn.Module, component: Component, mode: str = "zero"
) -> tuple[Edit, Callable[[], None]]:
    operation = as_operation(mode)
    assert isinstance(operation, AbstractOutputOperation)
    edit = Edit(component, operation, Clock())
    return edit, get_backend("auto", component).attach(model, component, edit)


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.Flatten(2),
        nn.Linear(16, 5),
    ).eval()


@pytest.mark.parametrize(
    ("path", "axis", "first", "last"),
    [("0", 1, 0, 0), ("0", 1, 2, 5), ("1", 1, 7, 7), ("3", 2, 1, 4)],
)
def test_a_range_of_channels_is_zeroed(
    model: nn.Sequential, path: str, axis: int, first: int, last: int
) -> None:
    plain = model(IMAGES)
    edit, undo = install(model, channels(path, first, last))
    got = model(IMAGES)
    assert edit.fired == 1 and edit.changed
    undo()

    def by_hand(module: nn.Module, args: object, output: Tensor) -> Tensor:
        output = output.clone()
        output.narrow(axis, first, last - first + 1).zero_()
        return output

    handle = model.get_submodule(path).register_forward_hook(by_hand)
    assert torch.equal(got, model(IMAGES)) and not torch.equal(got, plain)
    handle.remove()
    assert torch.equal(model(IMAGES), plain)


@pytest.mark.parametrize("path", ["0", "1", "3"])
def test_a_range_of_channels_is_zeroed_in_compiled_code(
    model: nn.Sequential, path: str
) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    edit, undo = install(model, channels(path, 1, 3))
    torch.testing.assert_close(compiled(IMAGES), model(IMAGES))
    assert edit.fired == 2  # once in each
    undo()
    torch.testing.assert_close(compiled(IMAGES), model(IMAGES))


def test_the_layout_in_memory_stays(model: nn.Sequential) -> None:
    conv = model[0].to(memory_format=torch.channels_last)
    x = IMAGES.to(memory_format=torch.channels_last)
    strides = conv(x).stride()
    _, undo = install(model, channels("0", 1, 2))
    assert conv(x).stride() == strides
    undo()


def test_a_sequential_is_one_module_with_channels() -> None:
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    _, undo = install(model, channels("0", 0, 1))
    out = model(IMAGES)
    undo()
    assert not out[:, :2].any() and torch.equal(out[:, 2:], model(IMAGES)[:, 2:])


def test_gradients_are_those_of_the_channels_that_are_left() -> None:
    torch.manual_seed(0)
    conv = nn.Sequential(nn.Conv2d(3, 4, 3))
    _, undo = install(conv, channels("0", 1, 2))
    conv(IMAGES).sum().backward()
    undo()
    grad = conv[0].weight.grad
    assert isinstance(grad, Tensor)
    assert not grad[1:3].any() and grad[0].any() and grad[3].any()


def test_a_range_past_the_end_says_how_many_there_are(model: nn.Sequential) -> None:
    _, undo = install(model, channels("0", 7, 8))
    with pytest.raises(ShapeMismatchError, match=r"channels run from 0 to 7"):
        model(IMAGES)
    undo()


def test_channels_of_a_structure_are_refused() -> None:
    model = nn.Sequential(nn.LSTM(4, 5))
    _, undo = install(model, channels("0", 0, 0))
    with pytest.raises(OperationError, match="LSTM returns tuple and not one tensor"):
        model(torch.zeros(2, 3, 4))
    undo()
