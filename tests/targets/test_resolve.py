"""One target to its components, on real models and on small awkward ones."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import surgery
from surgery.anatomy import Component, Facts, Slice
from surgery.anatomy import record as run_once
from surgery.errors import NoEffectError, TargetError
from surgery.targets import Target, parse, resolve

Names = Callable[[object], list[str]]
MakeRecord = Callable[..., Any]


def paths_like(model: nn.Module, pattern: str) -> list[str]:
    """Slow truth: as many segments, and each of them matches."""
    return [
        path
        for path, _ in model.named_modules()
        if path
        and path.count(".") == pattern.count(".")
        and all(
            fnmatch.fnmatchcase(*pair)
            for pair in zip(path.split("."), pattern.split("."), strict=True)
        )
    ]


def test_a_path_names_the_module_there(resnet: nn.Module) -> None:
    (component,) = resolve(resnet, "layer1.0.conv1")
    assert component == Component("layer1.0.conv1", "module", "layer1.0.conv1")
    assert component.facts is None


@pytest.mark.parametrize(
    "pattern", ["layer*.*", "layer1.*.conv*", "*.*.b*n*2", "l*1", "*", "conv1", "*.0.*"]
)
def test_a_star_matches_within_one_segment(
    resnet: nn.Module, names: Names, pattern: str
) -> None:
    expected = paths_like(resnet, pattern)
    assert expected
    assert names(resolve(resnet, pattern)) == expected


def test_stars_work_at_depth(swin: nn.Module, names: Names) -> None:
    found = names(resolve(swin, "layers.*.blocks.*.attn"))
    assert found == paths_like(swin, "layers.*.blocks.*.attn")
    assert len(found) == 12


def test_a_double_star_matches_any_number_of_segments(
    resnet: nn.Module, names: Names
) -> None:
    every = [path for path, _ in resnet.named_modules()]
    assert names(resolve(resnet, "**")) == [path for path in every if path]
    inside = [path for path in every if path.split(".")[0] == "layer2"]
    assert names(resolve(resnet, "layer2.**")) == inside
    assert inside[0] == "layer2"  # zero segments count too
    convs = [path for path in every if path.split(".")[-1] == "conv1"]
    assert convs[0] == "conv1"
    assert names(resolve(resnet, "**.conv1")) == convs
    assert names(resolve(resnet, "**.**.conv1")) == convs
    assert names(resolve(resnet, "**." * 60 + "conv1")) == convs  # in no time
    middle = [p for p in convs if p.startswith("layer3.")]
    assert names(resolve(resnet, "layer3.**.conv1")) == middle


def test_a_class_filter_takes_any_class_in_the_mro(
    resnet: nn.Module, names: Names
) -> None:
    convs = [p for p, m in resnet.named_modules() if isinstance(m, nn.Conv2d)]
    assert names(resolve(resnet, "**[Conv2d]")) == convs
    # _ConvNd is a base class, never a module's own.
    assert names(resolve(resnet, "**[_ConvNd]")) == convs
    assert names(resolve(resnet, "layer1.*[BasicBlock]")) == ["layer1.0", "layer1.1"]
    assert names(resolve(resnet, "conv1[Conv2d]")) == ["conv1"]


def test_a_regular_expression_matches_whole_paths(
    resnet: nn.Module, names: Names
) -> None:
    regex = r"layer[12]\..*conv\d"
    expected = [p for p, _ in resnet.named_modules() if re.fullmatch(regex, p)]
    assert len(expected) == 8
    assert names(resolve(resnet, f"re:{regex}")) == expected
    assert "" not in names(resolve(resnet, "re:.*"))
    assert names(resolve(resnet, "re:conv1|bn1")) == ["conv1", "bn1"]


def test_parameters_are_tried_only_where_no_module_matches(
    resnet: nn.Module, names: Names
) -> None:
    (weight,) = resolve(resnet, "layer1.0.conv1.weight")
    assert weight == Component(
        "layer1.0.conv1.weight", "parameter", "layer1.0.conv1", part="weight"
    )
    found = resolve(resnet, "layer1.*.bn1.*")
    assert {c.kind for c in found} == {"parameter"}
    assert names(found) == [
        f"layer1.{i}.bn1.{part}" for i in (0, 1) for part in ("weight", "bias")
    ]
    assert {c.kind for c in resolve(resnet, "layer1.0.*")} == {"module"}
    assert names(resolve(resnet, r"re:fc\.(weight|bias)")) == ["fc.weight", "fc.bias"]


def test_a_parameter_of_the_whole_model_has_the_empty_path(stack: nn.Module) -> None:
    assert resolve(stack, "token") == (
        Component("token", "parameter", "", part="token"),
    )


def test_a_tied_parameter_goes_by_its_first_name(
    stack: nn.Module, t5: nn.Module, names: Names
) -> None:
    assert names(resolve(t5, "encoder.embed_tokens.weight")) == ["shared.weight"]
    assert names(resolve(t5, "lm_head.*")) == ["shared.weight"]
    assert resolve(stack, "head.weight") == resolve(stack, "layers.0.attn.weight")


def test_an_alias_goes_by_the_first_name_of_its_module(
    pair: nn.Module, names: Names
) -> None:
    assert names(resolve(pair, "b.shared")) == ["a.shared"]
    assert names(resolve(pair, "*.shared")) == ["a.shared"]
    assert names(resolve(pair, "b.*")) == ["a.shared", "b.own"]
    assert names(resolve(pair, "b.shared.weight")) == ["a.shared.weight"]
    assert names(resolve(pair, "**.weight")) == ["a.shared.weight"]


def test_names_that_a_path_cannot_spell_are_quoted(names: Names) -> None:
    keys = ["a b", "x:y", "*", "p@1", "[0]", "input", "re", "é", "a\n", "a\x1c"]
    model = nn.ModuleDict({key: nn.ReLU() for key in keys})
    model.register_parameter("a*", nn.Parameter())
    found = resolve(model, "*")
    assert [c.path for c in found] == keys
    assert names(found)[0] == "re:a\\ b"
    assert names(found)[5:8] == ["re:input", "re", "é"]
    for component in (*found, *resolve(model, "re:a[*]"), *resolve(model, "*@3")):
        assert resolve(model, str(component)) == (component,)
        assert resolve(model, component) == (component,)


@pytest.mark.parametrize(
    "text",
    [
        "**",
        "**@1",
        "**.weight",
        "input",
        "input:x",
        "input:channel#*",
        "input:token#1-2",
        "layer2..layer3",
    ],
)
def test_every_component_is_named_by_its_text(
    resnet: nn.Module, make_record: MakeRecord, text: str
) -> None:
    record = make_record(resnet, calls={p: 2 for p, _ in resnet.named_modules()})
    found = resolve(resnet, text, record)
    assert found
    for component in found:
        assert resolve(resnet, str(component)) == (component,)
        assert resolve(resnet, str(component), record) == (component,)
        assert resolve(resnet, component, record)[0].facts == component.facts


def test_a_target_does_as_well_as_its_text(resnet: nn.Module) -> None:
    target: Target = parse("layer*.0")
    assert resolve(resnet, target) == resolve(resnet, "layer*.0")


@pytest.mark.parametrize("value", [None, 7, b"conv1", ["conv1"]])
def test_what_is_no_target_is_refused(resnet: nn.Module, value: Any) -> None:
    with pytest.raises(TargetError, match=r"a target is a str such as 'layer1.0'"):
        resolve(resnet, value)


# Containers and modules that never run


def test_without_a_record_a_container_without_forward_stands_for_its_children(
    stack: nn.Module, swin: nn.Module, names: Names
) -> None:
    assert names(resolve(stack, "layers")) == ["layers.0", "layers.1", "layers.2"]
    assert names(resolve(stack, "norms")) == ["norms.pre", "norms.post"]
    assert names(resolve(stack, "*")) == [
        "layers.0", "layers.1", "layers.2", "norms.pre", "norms.post", "head",
    ]  # fmt: skip
    assert names(resolve(swin, "layers")) == ["layers"]  # a Sequential runs
    nested = nn.ModuleDict({"a": nn.ModuleList([nn.ModuleList([nn.ReLU()])])})
    model = nn.Sequential(nested)
    assert names(resolve(model, "0")) == ["0.a.0.0"]


def test_with_a_record_a_container_stands_for_what_runs_in_it(
    stack: nn.Module, make_record: MakeRecord, names: Names
) -> None:
    # layers.0 is not called as a whole, its act is; nothing in layers.1 runs.
    dead = ["layers", "layers.0", "layers.0.attn", "layers.1"]
    dead += ["layers.1.attn", "layers.1.act"]
    record = make_record(stack, calls=dict.fromkeys(dead, 0))
    assert names(resolve(stack, "layers", record)) == ["layers.0.act", "layers.2"]
    assert names(resolve(stack, "layers.0", record)) == ["layers.0.act"]
    assert names(resolve(stack, "layers.*", record)) == ["layers.0.act", "layers.2"]
    assert names(resolve(stack, "layers.*.attn", record)) == ["layers.2.attn"]


class Chosen(nn.Module):
    """Goes around what does nothing, as HRNet's transitions do."""

    def __init__(self) -> None:
        super().__init__()
        inner = nn.ModuleList([nn.Identity(), nn.ReLU()])
        self.parts = nn.ModuleList([nn.Identity(), nn.Linear(2, 2), inner])

    def forward(self, x: Tensor) -> Tensor:
        inner: Any = self.parts[2]
        return inner[1](self.parts[1](x))  # type: ignore[no-any-return]


def test_a_listed_container_stands_for_what_ran_in_it(names: Names) -> None:
    model = Chosen()
    listed = {str(c): c for c in surgery.components(model, torch.ones(1, 2))}
    assert names(resolve(model, listed["parts"])) == ["parts.1", "parts.2.1"]
    with surgery.ablate(model, listed["parts"]) as ablation:
        model(torch.ones(1, 2))
    assert all(row.fired for row in ablation.effect())


def test_a_container_of_shared_modules_finds_them_under_their_first_name(
    names: Names,
) -> None:
    model = nn.Module()
    model.first = nn.ReLU()
    model.all = nn.ModuleList([model.first, nn.Tanh()])
    assert names(resolve(model, "all")) == ["first", "all.1"]


def test_a_module_that_never_runs_is_refused_by_name(
    stack: nn.Module, make_record: MakeRecord
) -> None:
    record = make_record(stack, calls={"layers.1.attn": 0, "layers.2.attn": 0})
    with pytest.raises(NoEffectError, match=r"'layers.1.attn' never runs in this forw"):
        resolve(stack, "layers.1.attn", record)
    with pytest.raises(NoEffectError, match="none of the 2 modules that match ever ru"):
        resolve(stack, r"re:layers\.[12]\.attn", record)


def test_a_bypassed_module_is_told_about_its_parameters_and_parent(
    stack: nn.Module, make_record: MakeRecord
) -> None:
    record = make_record(
        stack, calls={"layers.1.attn": 0, "head": 0}, bypassed=["layers.1.attn", "head"]
    )
    with pytest.raises(
        NoEffectError,
        match=r"its parent 'layers.1' uses its parameters without calling it. Operate "
        "on its parameters, e.g. 'layers.1.attn.weight', or on 'layers.1'",
    ):
        resolve(stack, "layers.1.attn", record)
    with pytest.raises(NoEffectError, match="the model uses its parameters without"):
        resolve(stack, "head", record)


def test_modules_that_never_run_can_be_had_for_their_parameters(
    stack: nn.Module, make_record: MakeRecord, names: Names
) -> None:
    dead = ["layers", "layers.1", "layers.1.attn", "layers.1.act", "prompts"]
    record = make_record(stack, calls=dict.fromkeys(dead, 0))

    def all_of(text: str) -> list[str]:
        return names(resolve(stack, text, record, called_only=False))

    assert all_of("layers.1.attn") == ["layers.1.attn"]
    assert all_of("layers") == ["layers.0", "layers.1", "layers.2"]
    assert all_of("prompts") == ["prompts"]
    with pytest.raises(NoEffectError, match="'prompts' never runs"):
        resolve(stack, "prompts", record)


def test_for_parameters_a_container_with_its_own_stays_whole(names: Names) -> None:
    box = nn.ModuleList([nn.Linear(1, 1)])
    box.register_parameter("scale", nn.Parameter())
    model = nn.Sequential()
    model.add_module("box", box)
    assert names(resolve(model, "box", called_only=False)) == ["box"]
    assert names(resolve(model, "box")) == ["box.0"]


def test_a_container_of_nothing_that_runs_is_refused(stack: nn.Module) -> None:
    with pytest.raises(TargetError, match="'empty' is a container that holds no modul"):
        resolve(stack, "empty")
    with pytest.raises(TargetError, match=r"on its parameters, e.g. 'prompts.0'"):
        resolve(stack, "prompts")


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_a_scripted_module_is_refused_with_the_reason(
    make_record: MakeRecord, names: Names
) -> None:
    model = nn.Sequential(torch.jit.script(nn.ReLU()), nn.Tanh())
    told = make_record(model, calls={"0": 0})
    assert names(resolve(model, "*", told)) == ["1"]
    with pytest.raises(NoEffectError, match="'0' is compiled by TorchScript"):
        resolve(model, "0", told)


def test_a_forward_given_to_one_instance_counts(names: Names) -> None:
    box = nn.ModuleList([nn.ReLU()])
    box.forward = lambda x: x
    assert names(resolve(nn.Sequential(box), "0")) == ["0"]


# Facts


def test_components_carry_what_the_record_told(
    stack: nn.Module, make_record: MakeRecord
) -> None:
    record = make_record(stack, calls={"layers.1.act": 2})
    (act,) = resolve(stack, "layers.1.act", record)
    assert act.facts == Facts(type="ReLU", calls=2)
    (call,) = resolve(stack, "layers.1.act@1", record)
    assert call.facts == Facts(type="ReLU", calls=2)
    (weight,) = resolve(stack, "layers.1.attn.weight", record)
    assert weight.facts == Facts(
        type="Parameter", calls=1, output_shape=(4, 4), parameters=16
    )
    (x,) = resolve(stack, "input", record)
    assert x.facts is not None
    assert (x.facts.type, x.facts.output_shape) == ("float32", (2, 3, 8, 8))


# Call-sites


def test_a_call_site_is_one_call_of_a_module(
    stack: nn.Module, make_record: MakeRecord, names: Names
) -> None:
    record = make_record(stack, calls={"layers.0.act": 2, "layers.1.act": 3})
    assert resolve(stack, "layers.0.act@1", record) == (
        Component("layers.0.act@1", "module", "layers.0.act", call=1),
    )
    assert names(resolve(stack, "**@1", record)) == ["layers.0.act@1", "layers.1.act@1"]
    assert names(resolve(stack, "**[ReLU]@2", record)) == ["layers.1.act@2"]
    assert names(resolve(stack, r"re:.*\.act@2", record)) == ["layers.1.act@2"]
    assert names(resolve(stack, "layers@0")) == [f"layers.{i}@0" for i in range(3)]


def test_a_call_site_that_does_not_exist_is_told_how_many_there_are(
    stack: nn.Module, make_record: MakeRecord
) -> None:
    record = make_record(stack, calls={"layers.0.act": 2})
    with pytest.raises(
        TargetError,
        match=r"'layers.0.act' is called 2 times in this forward; call-sites count "
        "from @0 to @1",
    ):
        resolve(stack, "layers.0.act@2", record)
    with pytest.raises(TargetError, match="3 modules is called at most 2 times"):
        resolve(stack, "layers.*.act@2", record)
    with pytest.raises(TargetError, match="is called 1 time in this"):
        resolve(stack, "head@1", record)
    with pytest.raises(
        TargetError, match="'token' is a parameter, which is not called"
    ):
        resolve(stack, "token@0")


def test_a_real_model_that_reuses_a_layer_has_its_call_sites(
    albert: nn.Module, names: Names
) -> None:
    told = run_once(albert, (torch.zeros(2, 5, dtype=torch.long),))
    layer = "encoder.albert_layer_groups.0"
    assert f"{layer}@2" in names(resolve(albert, "**@2", told))
    assert names(resolve(albert, "encoder.albert_layer_groups", told)) == [layer]
    assert names(resolve(albert, "pooler@0", told)) == ["pooler@0"]
    with pytest.raises(TargetError, match="is called 3 times in this forward"):
        resolve(albert, f"{layer}@3", told)


def test_a_real_model_that_bypasses_modules_says_so(
    beit: nn.Module, names: Names
) -> None:
    told = run_once(beit, (torch.zeros(1, 3, 32, 32),))
    assert "blocks.0.attn.qkv" not in names(resolve(beit, "blocks.0.attn.*", told))
    with pytest.raises(NoEffectError, match=r"e.g. 'blocks.0.attn.qkv.weight', or on"):
        resolve(beit, "blocks.0.attn.qkv", told)
    with pytest.raises(NoEffectError, match="none of the 2 modules that match"):
        resolve(beit, "**.qkv", told)


# Ranges


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("layer2.1..layer3.0", ["layer2.1", "layer3.0"]),
        ("layer1.1..layer4.0", ["layer1.1", "layer2", "layer3", "layer4.0"]),
        ("layer2.1..layer3.1", ["layer2.1", "layer3.0", "layer3.1"]),
        ("layer1..layer3", ["layer1", "layer2", "layer3"]),
        ("layer1..layer1", ["layer1"]),
        ("conv1..maxpool", ["conv1", "bn1", "act1", "maxpool"]),
        (
            "layer1.1.act2..layer2.0.conv1",
            ["layer1.1.act2", "layer2.0.conv1"],
        ),
        ("layer3.0.conv2..layer3.1.conv1", [
            "layer3.0.conv2", "layer3.0.bn2", "layer3.0.act2", "layer3.0.downsample",
            "layer3.1.conv1",
        ]),
    ],
)  # fmt: skip
def test_a_range_is_everything_between_in_the_largest_pieces(
    resnet: nn.Module, names: Names, text: str, expected: list[str]
) -> None:
    assert names(resolve(resnet, text)) == expected


def test_members_of_a_range_expand_and_drop_as_elsewhere(
    stack: nn.Module, make_record: MakeRecord, names: Names
) -> None:
    assert names(resolve(stack, "layers.2..head")) == [
        "layers.2", "norms.pre", "norms.post", "head",
    ]  # fmt: skip
    record = make_record(stack, calls={"norms": 0, "norms.pre": 0, "prompts": 0})
    assert names(resolve(stack, "norms..prompts", record)) == ["norms.post"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer3.0..layer2.1", "comes first in the model; swap them: "
                               "'layer2.1..layer3.0'"),
        ("layer3..layer3.1", "'layer3' contains 'layer3.1'.*write 'layer3' for all"),
        ("layer3.1..layer3", "'layer3' contains 'layer3.1'"),
        ("layer3.7..layer4", "'layer3.7' names nothing in this ResNet. 'layer3' has "
                             r"0\.\.1"),
        ("conv1.weight..layer4", "'conv1.weight' is a parameter; a range runs between"),
    ],
)  # fmt: skip
def test_an_impossible_range_is_refused(
    resnet: nn.Module, text: str, message: str
) -> None:
    with pytest.raises(TargetError, match=message):
        resolve(resnet, text)


# Inputs


def test_inputs_are_components(resnet: nn.Module, make_record: MakeRecord) -> None:
    record = make_record(resnet, inputs={"x": (2, 3, 8, 8), "mask": (2, 5)})
    for known in (None, record):
        assert resolve(resnet, "input", known) == (Component("input", "input", ""),)
        assert resolve(resnet, "input:mask", known) == (
            Component("input:mask", "input", "", part="mask"),
        )
        assert resolve(resnet, "input:channel#1-2", known) == (
            Component("input:channel#1-2", "input", "", slice=Slice("channel", 1, 2)),
        )


@pytest.mark.parametrize(
    ("axis", "size"), [("channel", 3), ("token", 3), ("feature", 9)]
)
def test_a_star_takes_each_slice_of_the_first_input(
    resnet: nn.Module, make_record: MakeRecord, axis: str, size: int
) -> None:
    record = make_record(resnet, inputs={"x": (2, 3, 8, 9), "y": (1, 1)})
    assert [str(c) for c in resolve(resnet, f"input:{axis}#*", record)] == [
        f"input:{axis}#{i}" for i in range(size)
    ]
    resolve(resnet, f"input:{axis}#{size - 1}", record)
    with pytest.raises(
        TargetError, match=rf"'x' of shape \(2, 3, 8, 9\), has {axis}s 0..{size - 1}"
    ):
        resolve(resnet, f"input:{axis}#0-{size}", record)


def test_an_input_that_was_not_there_is_refused(
    resnet: nn.Module, make_record: MakeRecord
) -> None:
    record = make_record(resnet, inputs={"pixel_values": (2, 3, 8, 8), "mask": (2,)})
    with pytest.raises(TargetError, match="Did you mean 'input:pixel_values'"):
        resolve(resnet, "input:pixels_value", record)
    with pytest.raises(TargetError, match="'input:pixel_values' or 'input:mask'"):
        resolve(resnet, "input:q", record)
    with pytest.raises(TargetError, match="known only from a forward; pass `inputs=`"):
        resolve(resnet, "input:channel#*")
    nothing = make_record(resnet, inputs={})
    with pytest.raises(TargetError, match="no tensor went into the model"):
        resolve(resnet, "input", nothing)
    flat = make_record(resnet, inputs={"x": (4,)})
    with pytest.raises(TargetError, match=r"no axis but the batch's; .*'input:x'"):
        resolve(resnet, "input:feature#0", flat)


def test_input_is_the_models_even_where_a_child_has_that_name() -> None:
    model = nn.ModuleDict({"input": nn.Linear(2, 2), "out": nn.ReLU()})
    assert resolve(model, "input") == (Component("input", "input", ""),)
    assert resolve(model, "re:input") == (Component("re:input", "module", "input"),)
    assert resolve(model, "input.weight")[0].path == "input"
    assert [c.path for c in resolve(model, "input..out")] == ["input", "out"]
