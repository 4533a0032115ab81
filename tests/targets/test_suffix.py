"""What suffixes name, in a model whose parts are written by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from surgery.anatomy import Component, Place, Record, Site, Slice
from surgery.anatomy import record as recorded
from surgery.errors import NoEffectError, TargetError
from surgery.targets import parse, resolve

Names = Callable[[object], list[str]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("blocks.0:skip", ["blocks.0:skip#0", "blocks.0:skip#1"]),
        ("blocks.0:branch#1", ["blocks.0:branch#1"]),
        ("blocks.*:skip#0", ["blocks.0:skip#0", "blocks.1:skip#0"]),
        ("**:branch#1", ["blocks.0:branch#1", "blocks.1:branch#1"]),
        ("blocks.*:gate", ["blocks.1:gate"]),
        ("blocks.1:gate#0", ["blocks.1:gate"]),
        ("dense:cat#0", ["dense:cat#0"]),
        ("dense:cat", ["dense:cat#0"]),
        ("dense:cat#0.arg2", ["dense:cat#0.arg2"]),
        ("*:add#0.arg1", ["merge:add#0.arg1"]),
        ("*:add.arg0", ["merge:add#0.arg0"]),
        ("merge:relu", ["merge:relu#0", "merge:relu#1"]),
        ("merge:relu#1", ["merge:relu#1"]),
        (":flatten#0", [":flatten#0"]),
        ("blocks.0.attn:head#*", ["blocks.0.attn:head#0", "blocks.0.attn:head#1"]),
        ("**:head#1", ["blocks.0.attn:head#1", "blocks.1.attn:head#1"]),
        ("**[Inner]:head#0-1", ["blocks.0.attn:head#0-1", "blocks.1.attn:head#0-1"]),
        ("blocks.1@1:skip#0", ["blocks.1@1:skip#0"]),
        ("*@1:relu#0", ["merge@1:relu#0"]),
    ],
)
def test_a_suffix_names_the_parts_of_the_modules_that_have_them(
    net: nn.Module, parted: Record, names: Names, text: str, expected: list[str]
) -> None:
    found = resolve(net, text, parted)
    assert names(found) == expected
    for part in found:
        assert resolve(net, str(part), parted) == (part,)
        assert str(parse(str(part))) == str(part)


def test_parts_come_as_they_were_recorded(net: nn.Module, parted: Record) -> None:
    listed = {part.name: part for part in parted.parts}
    for name, part in listed.items():
        (found,) = resolve(net, name, parted)
        assert found is part


def test_operands_and_results_exist_for_every_join_that_ran(
    net: nn.Module, parted: Record
) -> None:
    (operand,) = resolve(net, "blocks.0:add#1.arg0", parted)
    assert (operand.kind, operand.index, operand.operand) == ("add", 1, 0)
    assert operand.place == Place((Site("blocks.0", "add", 1, 0),), listed=False)
    (result,) = resolve(net, "merge:add#0", parted)
    assert result.operand is None
    assert result.place == Place((Site("merge", "add", 0),), listed=False)
    (factor,) = resolve(net, "blocks.1:mul#0.arg0", parted)
    assert factor.kind == "mul" and factor.index == 0


def test_one_call_of_a_part_acts_in_that_call_only(
    net: nn.Module, parted: Record
) -> None:
    (part,) = resolve(net, "blocks.1@1:branch#0", parted)
    assert (part.kind, part.path, part.call, part.index) == (
        "branch", "blocks.1", 1, 0,
    )  # fmt: skip
    assert part.place == Place((Site("blocks.1", "add", 0, 1, call=1),))
    (head,) = resolve(net, "blocks.1.attn@1:head#0", parted)
    assert head.place is not None
    assert [(s.path, s.call) for s in head.place.sites] == [("blocks.1.attn.proj", 1)]


def test_a_call_of_a_part_that_is_cut_elsewhere_must_be_known(
    net: nn.Module, make_record: Any, parted: Record
) -> None:
    record = make_record(net, calls={"blocks.0.attn": 2}, parts=parted.parts)
    with pytest.raises(TargetError, match=r"cut in 'blocks.0.attn.proj', which does n"):
        resolve(net, "blocks.0.attn@1:head#0", record)


def test_heads_of_a_range_are_cut_as_one(net: nn.Module, parted: Record) -> None:
    (both,) = resolve(net, "blocks.0.attn:head#0-1", parted)
    assert both.slice == Slice("head", 0, 1)
    assert both.place is not None
    (site,) = both.place.sites
    assert site == Site("blocks.0.attn.proj", "linear", 0, 0, axis=-1, pieces=((0, 7),))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blocks.0:skip#2", r"'blocks.0' has `:skip#0` to `:skip#1`"),
        ("blocks.1:gate#1", r"has one `:gate`; write `:gate` or `:gate#0`"),
        (
            "blocks.0.mlp:skip",
            "'blocks.0.mlp' performs no residual add; 'blocks.0' does: "
            "'blocks.0:skip#0'",
        ),
        ("stem:branch", r"'stem' performs no residual add; 'blocks\.\d' does: "),
        (
            "merge:skip",
            r"its add#0 has no sure skip side, so no `:skip`; use 'merge:add#0.arg0'",
        ),
        (":skip", "the model performs no residual add; 'blocks.0' does"),
        ("blocks.0:gate", "has no multiplicative gate; 'blocks.1' does"),
        ("blocks.0:head#0", "'blocks.0.attn' does: 'blocks.0.attn:head#0'"),
        ("blocks.0.attn:head#2", "'blocks.0.attn' has heads 0..1"),
        ("**:head#1-2", "none of the .* modules that match has it; .* has heads 0..1"),
        ("dense:cat#0.arg3", r"`:cat#0` with operands .arg0 to .arg2"),
        ("dense:cat#1", "has one `:cat`"),
        ("blocks.0:add#0.arg2", r"with operands .arg0 to .arg1"),
        ("stem:cat#0.arg0", "'stem' calls no 'cat' in its own code; 'dense' does"),
        ("merge:rleu", "calls no 'rleu' in its own code; did you mean 'merge:relu'"),
        ("merge:tanh", "it calls add, relu"),
        ("stem:flatten#0", "there is ':flatten#0'"),
        ("blocks.1@2:skip#0", "is called 2 times in this forward; call-sites count"),
        ("stem.weight:channel#0", "is a parameter, and a suffix follows a module"),
        ("layer9:skip", "'layer9' names nothing in this Net"),
        ("odd.*:channel#0", r"written 're:odd.*, so that no suffix can follow"),
    ],
)
def test_a_part_that_is_not_there_is_told_what_is(
    net: nn.Module, parted: Record, text: str, message: str
) -> None:
    with pytest.raises(TargetError, match=message) as caught:
        resolve(net, text, parted)
    assert f"'{text}'" in str(caught.value) or "layer9" in text


def test_a_suffix_on_a_container_says_to_name_its_children(
    net: nn.Module, parted: Record
) -> None:
    for record in (None, parted):
        with pytest.raises(
            TargetError, match=r"is in it: 'blocks\.\*:skip#1'"
        ) as caught:
            resolve(net, "blocks:skip#1", record)
        assert not isinstance(caught.value, NoEffectError)


def test_a_suffix_on_a_module_that_never_runs_says_why(
    net: nn.Module, parted: Record
) -> None:
    with pytest.raises(NoEffectError, match="the model uses its parameters without ca"):
        resolve(net, "bypassed:channel#0", parted)
    with pytest.raises(NoEffectError, match="never runs in this forward"):
        resolve(net, "idle:skip", parted)


# Without a record


def test_without_a_record_what_needs_recognition_is_left_to_the_next_forward(
    net: nn.Module,
) -> None:
    assert resolve(net, "blocks.0:skip") == (
        Component("blocks.0:skip", "skip", "blocks.0"),
    )
    (branch,) = resolve(net, "blocks.0@1:branch#1")
    assert branch == Component(
        "blocks.0@1:branch#1", "branch", "blocks.0", call=1, index=1
    )
    (head,) = resolve(net, "blocks.0.attn:head#0-1")
    assert head.slice == Slice("head", 0, 1)
    (gate,) = resolve(net, ":gate")
    assert gate == Component(":gate", "gate", "")
    assert [c.place for c in (branch, head, gate)] == [None] * 3


def test_without_a_record_joins_and_functions_are_placed_by_the_text(
    net: nn.Module,
) -> None:
    (operand,) = resolve(net, "merge:add#2.arg0")
    assert (operand.kind, operand.index, operand.operand) == ("add", 2, 0)
    assert operand.place == Place((Site("merge", "add", 2, 0),), listed=False)
    (every,) = resolve(net, "merge@1:relu")
    assert (every.kind, every.part, every.index) == ("function", "relu", None)
    assert every.place == Place((Site("merge", "relu", call=1),), listed=False)
    for text in ("merge:add#2.arg0", "merge@1:relu", ":cat#0", "merge:softmax#0"):
        (part,) = resolve(net, text)
        assert str(part) == text
        assert resolve(net, part) == (part,)


def test_without_a_record_a_star_takes_every_module_that_has_code(
    net: nn.Module, names: Names
) -> None:
    assert names(resolve(net, "m*:skip")) == ["merge:skip"]
    assert names(resolve(net, "*:relu#0")) == [
        "stem:relu#0", "dense:relu#0", "merge:relu#0", "lstm:relu#0", "bypassed:relu#0",
        "idle:relu#0",
    ]  # fmt: skip


def test_what_only_a_forward_tells_asks_for_inputs(net: nn.Module) -> None:
    with pytest.raises(TargetError, match="how many heads there are is known only fr"):
        resolve(net, "blocks.0.attn:head#*")


def test_a_function_that_nothing_could_call_is_refused(net: nn.Module) -> None:
    with pytest.raises(TargetError, match=r"no function 'rleu' that .* `:relu`"):
        resolve(net, "merge:rleu#0")
    with pytest.raises(TargetError, match=r"surgery.components\(model, x\) lists"):
        resolve(net, "merge:qqqqqqqqqqq")


def test_every_spelling_of_a_function_is_the_same(
    net: nn.Module, parted: Record, names: Names
) -> None:
    for text in ("merge:relu_#0", "dense:concat#0", "dense:concatenate#0"):
        for record in (None, parted):
            (part,) = resolve(net, text, record)
            assert str(part) in ("merge:relu#0", "dense:cat#0")
    assert names(resolve(net, "merge:getitem#1")) == ["merge:getitem#1"]
    assert names(resolve(net, "merge:multiply#0")) == ["merge:mul#0"]


# Channels


@pytest.mark.parametrize("known", [True, False])
def test_channels_are_ranges_of_what_comes_out(
    net: nn.Module, parted: Record, names: Names, known: bool
) -> None:
    record = parted if known else None
    (few,) = resolve(net, "stem:channel#2-5", record)
    assert few == Component(
        "stem:channel#2-5", "channel", "stem", slice=Slice("channel", 2, 5)
    )
    assert (few.facts is not None) == known
    every = names(resolve(net, "stem:channel#*", record))
    assert every == [f"stem:channel#{i}" for i in range(8)]
    (last,) = resolve(net, "blocks.1.attn.proj@1:channel#7", record)
    assert last.call == 1
    assert len(resolve(net, "**[Linear]:channel#7", record)) == (6 if known else 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stem:channel#8", "'stem' has channels 0..7"),
        ("stem:channel#0-99", "'stem' has channels 0..7"),
        ("**:channel#99", "has channels 0..7"),
        ("lstm:channel#0", r"'lstm' \(LSTM\) returns a structure and not one tensor"),
        ("merge:channel#0", r"returns shape \(2,\), which has no channels"),
    ],
)
def test_channels_that_are_not_there_are_refused(
    net: nn.Module, parted: Record, text: str, message: str
) -> None:
    with pytest.raises(TargetError, match=message):
        resolve(net, text, parted)


def test_the_whole_models_channels_are_those_of_its_output(
    net: nn.Module, parted: Record, names: Names
) -> None:
    assert names(resolve(net, ":channel#*", parted)) == [
        f":channel#{i}" for i in range(8)
    ]
    with pytest.raises(TargetError, match=r"out of the model is known only from a for"):
        resolve(net, ":channel#*")
    with pytest.raises(TargetError, match=r"'stem' has channels 0..7"):
        resolve(net, "stem:channel#8")


def test_parts_of_a_module_called_re_are_spelled_with_its_class() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = x + self.inner(x)
            return y

    model, x = nn.Sequential(), torch.ones(2, 4)
    model.add_module("re", Block())
    seen = recorded(model, (x,))
    for text in ("re[Block]:skip", "re[Block]:add#0.arg1", "re[Block]:channel#0-1"):
        for known in (seen, None):
            (found,) = resolve(model, text, known)
            assert str(found) == text and resolve(model, str(found), known) == (found,)
    (again,) = resolve(model, "re@0:skip", seen)
    assert str(again) == "re@0:skip" and resolve(model, again, seen) == (again,)
    assert "re[Block]:skip" in map(str, seen.parts)
