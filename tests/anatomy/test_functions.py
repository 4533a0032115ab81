"""Functions: one name for all spellings, and operands by position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from surgery.anatomy import function_name, is_in_place, operands, with_operand

A, B, C = (torch.full((2,), float(i)) for i in range(3))


@pytest.mark.parametrize(
    ("name", "functions"),
    [
        ("add", [torch.add, Tensor.add, Tensor.add_, Tensor.__add__]),
        ("add", [Tensor.__radd__, Tensor.__iadd__]),
        ("mul", [torch.mul, torch.multiply, Tensor.__imul__, Tensor.__rmul__]),
        ("sub", [torch.sub, torch.subtract, Tensor.__rsub__, torch.rsub]),
        ("div", [torch.true_divide, Tensor.__truediv__, Tensor.div_]),
        ("relu", [F.relu, torch.relu, torch.relu_, Tensor.relu]),
        ("cat", [torch.cat, torch.concat, torch.concatenate]),
        ("stack", [torch.stack]),
        ("matmul", [torch.matmul, Tensor.__matmul__, Tensor.__rmatmul__]),
        ("max_pool2d", [F.max_pool2d]),
        ("getitem", [Tensor.__getitem__]),
        ("index_add", [Tensor.index_add_]),
    ],
)
def test_all_spellings_of_a_function_have_one_name(
    name: str, functions: list[Callable[..., Any]]
) -> None:
    assert {function_name(f) for f in functions} == {name}


@pytest.mark.parametrize(
    "function",
    [Tensor.size, Tensor.dim, Tensor.shape.__get__, Tensor.item, Tensor.__len__],  # type: ignore[attr-defined]
)
def test_what_only_asks_about_a_tensor_has_no_name(
    function: Callable[..., Any],
) -> None:
    assert function_name(function) is None


def test_a_function_that_changes_its_operand_is_in_place() -> None:
    changing: list[Callable[..., Any]] = [Tensor.add_, Tensor.__iadd__]
    assert all(is_in_place(f) for f in (*changing, Tensor.__setitem__))
    plain: list[Callable[..., Any]] = [Tensor.add, Tensor.__add__, Tensor.__invert__]
    assert not any(is_in_place(f) for f in plain)


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "expected"),
    [
        ("add", (A, B), {"alpha": 2}, (A, B)),
        ("add", (A,), {"other": B}, (A, B)),
        ("add", (), {"input": A, "other": B}, (A, B)),
        ("cat", ([A, B, C],), {"dim": 0}, (A, B, C)),
        ("stack", (), {"tensors": (A, B)}, (A, B)),
        ("einsum", ("i,i", A, B), {}, (A, B)),
        ("einsum", ("i,i", [A, B]), {}, (A, B)),
        ("linear", (A,), {"weight": B, "bias": C}, (A, B, C)),
        ("addmm", (A,), {"mat1": B, "mat2": C}, (A, B, C)),
    ],
)
def test_operands_are_found_and_replaced_by_position(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    assert operands(name, args, kwargs) == expected
    other = torch.full((2,), 9.0)
    for position in range(len(expected)):
        changed = operands(name, *with_operand(name, args, kwargs, position, other))
        assert changed[position] is other
        rest = [x for i, x in enumerate(changed) if i != position]
        assert all(
            x is y
            for x, y in zip(
                rest,
                [x for i, x in enumerate(expected) if i != position],
                strict=True,
            )
        )


def test_an_operand_that_is_not_there_cannot_be_replaced() -> None:
    with pytest.raises(IndexError, match="no operand 2"):
        with_operand("add", (A, B), {}, 2, C)
