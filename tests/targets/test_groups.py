"""Several targets: one group, or rows of a ranking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from surgery.anatomy import Record
from surgery.errors import NoEffectError, TargetError
from surgery.targets import parse, resolve, resolve_each, resolve_group

Names = Callable[[object], list[str]]


def rows(model: nn.Module, targets: Any, record: Any = None) -> dict[str, list[str]]:
    found = resolve_each(model, targets, record)
    assert len({name for name, _ in found}) == len(found)
    return {name: [str(c) for c in members] for name, members in found}


def test_a_group_is_the_union_in_the_order_given(
    resnet: nn.Module, names: Names
) -> None:
    found = resolve_group(resnet, ["layer2.*", ["layer1.0", ("layer2.0", "fc.weight")]])
    assert names(found) == ["layer2.0", "layer2.1", "layer1.0", "fc.weight"]
    assert resolve_group(resnet, "layer1.*") == resolve(resnet, "layer1.*")
    assert names(resolve_group(resnet, [parse("fc"), found[2]])) == ["fc", "layer1.0"]


def test_a_module_inside_another_of_the_group_is_dropped(
    resnet: nn.Module, names: Names
) -> None:
    group = ["layer1.0.conv1", "layer1", "layer1.1@0", "layer1@0", "input"]
    assert names(resolve_group(resnet, group)) == ["layer1", "input"]
    assert names(resolve_group(resnet, ["layer1@0", "layer1.0"])) == [
        "layer1@0",
        "layer1.0",
    ]
    assert names(resolve_group(resnet, ["fc", "fc.bias"])) == ["fc", "fc.bias"]
    top = [name for name, _ in resnet.named_children()]
    assert names(resolve_group(resnet, "**")) == top


def test_similar_names_are_not_nested(names: Names) -> None:
    model = nn.ModuleDict({"layer1": nn.ReLU(), "layer10": nn.Sequential(nn.ReLU())})
    assert names(resolve_group(model, ["layer1", "layer10.0"])) == [
        "layer1",
        "layer10.0",
    ]


def test_a_shared_module_is_dropped_only_if_it_runs_nowhere_else(
    pair: nn.Module, names: Names
) -> None:
    assert names(resolve_group(pair, ["a", "a.shared"])) == ["a", "a.shared"]
    assert names(resolve_group(pair, ["b", "a.shared"])) == ["b", "a.shared"]
    assert names(resolve_group(pair, ["a", "b", "a.shared"])) == ["a", "b"]


def test_each_component_of_a_target_is_a_row(resnet: nn.Module) -> None:
    assert rows(resnet, "layer1.*") == {
        "layer1.0": ["layer1.0"],
        "layer1.1": ["layer1.1"],
    }
    assert list(rows(resnet, ["fc", "layer1.*", parse("conv1")])) == [
        "fc",
        "layer1.0",
        "layer1.1",
        "conv1",
    ]
    assert list(rows(resnet, resolve(resnet, "layer1.*"))) == ["layer1.0", "layer1.1"]


def test_nested_modules_are_rows_of_their_own(resnet: nn.Module) -> None:
    assert list(rows(resnet, ["layer1", "layer1.0"])) == ["layer1", "layer1.0"]


def test_a_list_inside_the_list_is_one_row_named_by_its_texts(
    resnet: nn.Module,
) -> None:
    assert rows(resnet, ["fc", ["layer1.*", ["conv1", "layer1.0"]]]) == {
        "fc": ["fc"],
        "layer1.* + conv1 + layer1.0": ["layer1.0", "layer1.1", "conv1"],
    }


def test_a_range_is_one_row(resnet: nn.Module) -> None:
    assert rows(resnet, "layer2.1..layer3.0") == {
        "layer2.1..layer3.0": ["layer2.1", "layer3.0"]
    }


def test_a_container_is_one_row_per_child(stack: nn.Module) -> None:
    assert list(rows(stack, "layers")) == ["layers.0", "layers.1", "layers.2"]
    assert rows(stack, [["layers"]]) == {"layers": ["layers.0", "layers.1", "layers.2"]}


def test_slices_of_an_input_are_rows(
    stack: nn.Module, make_record: Callable[..., Any]
) -> None:
    record = make_record(stack)
    assert list(rows(stack, "input:channel#*", record)) == [
        f"input:channel#{i}" for i in range(3)
    ]
    assert list(rows(stack, "input:channel#0-1", record)) == ["input:channel#0-1"]


def test_equal_rows_are_one(resnet: nn.Module) -> None:
    assert list(rows(resnet, ["fc", "fc", ["fc"], "f*", "fc..fc"])) == ["fc"]
    assert list(rows(resnet, [["fc", "conv1"], ["conv1", "fc"]])) == ["fc + conv1"]


def test_a_part_of_a_module_that_is_in_the_group_as_a_whole_is_dropped(
    net: nn.Module, parted: Record, names: Names
) -> None:
    def group(*texts: str, record: Record | None = parted) -> list[str]:
        return names(resolve_group(net, list(texts), record))

    assert group("blocks.0:skip", "blocks.0") == ["blocks.0"]
    assert group("blocks.0", "blocks.0.attn:head#1", "blocks.0.mlp:channel#0") == [
        "blocks.0"
    ]
    assert group("blocks.0.attn", "blocks.0:branch#0") == [
        "blocks.0.attn",
        "blocks.0:branch#0",
    ]
    assert group("blocks.1@0", "blocks.1@1:skip#0") == [
        "blocks.1@0",
        "blocks.1@1:skip#0",
    ]
    assert group("blocks.1@1:skip#0", "blocks.1") == ["blocks.1"]
    assert group("stem", "stem.weight", "input") == ["stem", "stem.weight", "input"]


def test_what_a_part_for_all_calls_or_numbers_has_is_not_done_twice(
    net: nn.Module, parted: Record, names: Names
) -> None:
    def group(*texts: str, record: Record | None = None) -> list[str]:
        return names(resolve_group(net, list(texts), record))

    assert group("blocks.0:skip#1", "blocks.0:skip") == ["blocks.0:skip"]
    assert group("blocks.0@1:skip", "blocks.0:skip") == ["blocks.0:skip"]
    assert group("blocks.1@1:skip#0", "blocks.1:skip#0", record=parted) == [
        "blocks.1:skip#0"
    ]
    both = ["blocks.0:skip", "blocks.0:branch", "merge:relu", "merge:tanh#0"]
    assert group(*both) == both
    channels = ["stem:channel#0", "stem:channel#1"]
    assert group(*channels) == channels


def test_each_part_is_a_row(net: nn.Module, parted: Record) -> None:
    assert rows(net, ["blocks.*:branch#0", ["merge:relu"]], parted) == {
        "blocks.0:branch#0": ["blocks.0:branch#0"],
        "blocks.1:branch#0": ["blocks.1:branch#0"],
        "merge:relu": ["merge:relu#0", "merge:relu#1"],
    }
    assert list(rows(net, "blocks.0.attn:head#*", parted)) == [
        "blocks.0.attn:head#0",
        "blocks.0.attn:head#1",
    ]
    assert list(rows(net, "stem:channel#0-3", parted)) == ["stem:channel#0-3"]


def test_modules_that_never_run_can_be_asked_for(
    stack: nn.Module, make_record: Callable[..., Any]
) -> None:
    record = make_record(stack, calls={"head": 0})
    with pytest.raises(NoEffectError, match="never runs"):
        resolve_group(stack, ["head"], record)
    with pytest.raises(NoEffectError, match="never runs"):
        resolve_each(stack, ["head"], record)
    assert resolve_group(stack, ["head"], record, called_only=False)[0].path == "head"
    assert resolve_each(stack, "head", record, called_only=False)[0][0] == "head"


@pytest.mark.parametrize("function", [resolve_group, resolve_each])
def test_what_is_no_target_is_refused(
    resnet: nn.Module, function: Callable[..., Any]
) -> None:
    empties: list[list[Any]] = [[], [[]], ["fc", []]]
    for empty in empties:
        with pytest.raises(TargetError, match="the list is empty"):
            function(resnet, empty)
    for wrong in (None, 3, [3], [["fc", b"fc"]], {"fc"}):
        with pytest.raises(TargetError, match=r"a target is a str such as 'layer1.0'"):
            function(resnet, wrong)
    with pytest.raises(TargetError, match=r"name the module by its path: 'layer1.0'"):
        function(resnet, [resnet.get_submodule("layer1.0")])
    with pytest.raises(TargetError, match="'layer9' names nothing"):
        function(resnet, ["fc", ["layer9"]])


def test_what_is_inside_another_member_is_not_done_twice(
    net: nn.Module, parted: Record, names: Names
) -> None:
    def group(*texts: str, record: Record | None = parted) -> list[str]:
        return names(resolve_group(net, list(texts), record))

    assert group("blocks.0:skip#0", "blocks.0:add#0.arg0") == ["blocks.0:skip#0"]
    assert group("merge:relu#1", "merge:relu") == ["merge:relu#1", "merge:relu#0"]
    assert group("stem:channel#0", "stem:channel#0-3", "stem:channel#2-3") == [
        "stem:channel#0-3"
    ]
    heads = "blocks.0.attn:head#0-1"
    assert group("blocks.0.attn:head#1", heads, "blocks.0.attn:head#0") == [heads]
    assert group("stem@0:channel#0", "stem:channel#0-1", record=None) == [
        "stem:channel#0-1"
    ]
    assert group("input:x", "input", "input:channel#1") == ["input"]
    assert group("input:channel#1", "input:x") == ["input:x"]
    apart = ["stem:channel#0-1", "stem:channel#2", "blocks.0:branch#0", "input:y"]
    assert group(*apart, record=None) == apart


def test_members_that_overlap_in_part_are_refused(
    net: nn.Module, parted: Record, make_record: Callable[..., Any]
) -> None:
    for texts, mend in (
        (["stem:channel#0-2", "stem:channel#2-3"], "as one: 'stem:channel#0-3'"),
        (["stem@0:channel#0-2", "stem:channel#2"], "name them as one"),
        (["input:channel#0", "input:feature#3"], "name one of them"),
    ):
        with pytest.raises(TargetError, match=f"overlap.*{mend}"):
            resolve_group(net, texts, parted)
    whole = resolve_group(
        net, ["stem:channel#0-2", "stem:channel#2-3", "stem:channel#0-5"], parted
    )
    assert [str(c) for c in whole] == ["stem:channel#0-5"]


def test_members_that_may_be_the_same_tensor_ask_for_a_forward(
    net: nn.Module, names: Names
) -> None:
    with pytest.raises(TargetError, match=r"may be the same tensor.*inputs="):
        resolve_group(net, ["blocks.0:skip", "blocks.0:add#0.arg0"])
    with pytest.raises(TargetError, match=r"overlap.*inputs="):
        resolve_group(net, ["input:x", "input:channel#0"])
    both = ["blocks.0:skip", "blocks.0:add#0", "blocks.0:branch", "blocks.0:mul#0.arg0"]
    assert names(resolve_group(net, both)) == both
