"""Structured values: found, rebuilt in their own types, nothing else touched."""

from __future__ import annotations

from collections import OrderedDict, UserDict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from surgery.anatomy import find_main, main_tensor, mapped, replaced, tensors


class Pair(NamedTuple):
    a: Any
    b: Any


@dataclass(frozen=True)
class Box:
    a: Tensor
    made: list[int] = field(init=False, default_factory=list)


@dataclass(slots=True)
class Slotted:
    a: Tensor


X, Y = torch.ones(2, 3), torch.arange(4)


@pytest.mark.parametrize(
    "value",
    [
        (1, X),
        [X, None],
        {"k": X},
        OrderedDict(k=X),
        UserDict(k=X),
        Pair(Y, (X, "t")),
        Box(X),
        Slotted(X),
        {"deep": [{"er": (None, Box(X))}]},
    ],
)
def test_the_main_tensor_is_found_and_replaced_in_the_same_types(value: Any) -> None:
    found = find_main(value)
    assert found is not None and found[1] is X
    other = torch.zeros(5)
    rebuilt: Any = replaced(value, found[0], other)
    assert type(rebuilt) is type(value) and rebuilt is not value
    assert main_tensor(rebuilt) is other and main_tensor(value) is X


def test_the_first_floating_tensor_is_the_main_one_else_the_first() -> None:
    assert main_tensor((Y, X)) is X
    assert main_tensor((None, Y)) is Y
    assert main_tensor("text") is None and find_main([1, None]) is None


def test_what_lies_beside_the_path_is_the_same_object() -> None:
    beside = [Y]
    rebuilt: Any = replaced({"a": (X, beside)}, ("a", 0), Y)
    assert rebuilt["a"][1] is beside


def test_every_tensor_is_mapped_in_packed_sequences_and_torch_s_own_tuples() -> None:
    packed = pack_sequence([torch.ones(3, 1), torch.ones(2, 1)])
    doubled: Any = mapped(packed, lambda t: t * 2)
    assert torch.equal(doubled.data, packed.data * 2)
    top: Any = mapped(torch.max(X, 1), torch.clone)
    assert type(top) is type(torch.max(X, 1)) and torch.equal(top.values, torch.ones(2))
    assert len(tensors({"a": [X, (Y, X)], "b": 1})) == 3


def test_hugging_face_outputs_keep_their_attributes() -> None:
    outputs = pytest.importorskip("transformers.modeling_outputs")
    value = outputs.BaseModelOutput(last_hidden_state=X, attentions=(Y,))
    rebuilt: Any = replaced(value, ("last_hidden_state",), X * 3)
    assert torch.equal(rebuilt.last_hidden_state, X * 3)
    assert torch.equal(rebuilt["last_hidden_state"], X * 3)
    assert rebuilt.attentions[0] is Y and rebuilt.hidden_states is None
