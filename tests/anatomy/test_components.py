"""components: one recorded forward lists all there is, and leaves no trace."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import surgery
from surgery.errors import DataError, TargetError
from surgery.targets import resolve

COLUMNS = [
    "component",
    "kind",
    "type",
    "calls",
    "input_shape",
    "output_shape",
    "parameters",
    "macs",
    "identity",
    "note",
]


class Attention(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x, x)


class Zoo(nn.Module):
    """One module for each thing that a note may say."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.act = nn.ReLU(inplace=True)
        self.alias = self.act
        self.blocks = nn.ModuleList([nn.Linear(8, 8), nn.Dropout(0.5)])
        self.bypassed = nn.Linear(8, 8)
        self.idle = nn.Linear(8, 8)
        self.attention = Attention()
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.head = nn.Linear(8, 5)
        self.token = nn.Parameter(torch.zeros(8))

    def forward(self, image: Tensor, scale: float = 1.0, *, bias: Tensor) -> Tensor:
        x = self.act(self.norm(self.conv(image))) * scale
        x = self.act(x).flatten(2).transpose(1, 2) + self.token
        for block in self.blocks:
            x = block(x)
        x = F.linear(x, self.bypassed.weight, self.bypassed.bias)
        x = self.attention(x[:, None])[:, 0]
        self.idle.weight.shape  # noqa: B018  # looking at a shape is no use
        x, _ = self.lstm(x)
        y: Tensor = self.head(x.mean(1)) + bias
        return y


IMAGE, BIAS = torch.randn(2, 3, 8, 8), torch.randn(5)


@pytest.fixture
def parts() -> dict[str, surgery.Component]:
    found = surgery.components(Zoo(), IMAGE, kwargs={"bias": BIAS})
    return {part.name: part for part in found}


def facts(part: surgery.Component) -> Any:
    assert part.facts is not None
    return part.facts


def test_shapes_calls_and_parameters_are_told(
    parts: dict[str, surgery.Component],
) -> None:
    conv = facts(parts["conv"])
    assert (conv.type, conv.calls, conv.parameters) == ("Conv2d", 1, 3 * 8 * 9 + 8)
    assert conv.input_shape == (2, 3, 8, 8) and conv.output_shape == (2, 8, 4, 4)
    assert facts(parts["act"]).calls == 2
    assert facts(parts["head"]).output_shape == (2, 5)
    assert facts(parts["lstm"]).output_shape == (2, 16, 8)


def test_multiply_adds_are_counted_as_by_hand(
    parts: dict[str, surgery.Component],
) -> None:
    assert facts(parts["conv"]).macs == 2 * 8 * 4 * 4 * 3 * 9
    assert facts(parts["blocks.0"]).macs == 2 * 16 * 8 * 8
    assert facts(parts["head"]).macs == 2 * 8 * 5
    assert facts(parts["attention"]).macs == 2 * (16 * 16 * 8) * 2  # q k and a v
    assert facts(parts["act"]).macs == 0


def test_identity_names_what_would_make_an_input_fit(
    parts: dict[str, surgery.Component],
) -> None:
    names = {name: facts(part).identity for name, part in parts.items()}
    assert names["norm"] == names["blocks.0"] == names["lstm"] == "yes"
    assert names["conv"] == "pool space" and names["head"] == "pad last axis"
    assert names["idle"] == "no"


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("act", "shared: also alias; in place"),
        ("blocks", "container: never called, stands for its children"),
        ("bypassed", "bypassed: its parent uses its parameters without calling it"),
        ("idle", "never called"),
        ("lstm", "structured output (3 tensors)"),
        ("conv", ""),
    ],
)
def test_notes_say_what_must_be_known_before_operating(
    parts: dict[str, surgery.Component], name: str, note: str
) -> None:
    assert facts(parts[name]).note.startswith(note)
    assert note or not facts(parts[name]).note


def test_dropout_in_eval_passes_its_input_through() -> None:
    found = surgery.components(Zoo().eval(), IMAGE, kwargs={"bias": BIAS})
    notes = {part.name: facts(part).note for part in found}
    assert notes["blocks.1"] == "passes its input through"


def test_inputs_are_listed_by_the_names_of_the_forward(
    parts: dict[str, surgery.Component],
) -> None:
    assert facts(parts["input:image"]).output_shape == (2, 3, 8, 8)
    assert facts(parts["input:bias"]).type == "float32"
    only = surgery.components(nn.Sequential(nn.ReLU()), IMAGE)
    assert [str(part) for part in only] == ["input", "0"]


def test_parameters_are_listed_when_asked_for() -> None:
    found = surgery.components(
        Zoo(), IMAGE, kwargs={"bias": BIAS}, kinds=("parameter",)
    )
    assert [str(p) for p in found] == [n for n, _ in Zoo().named_parameters()]
    assert {p.kind for p in found} == {"parameter"}
    by_name = {p.name: p for p in found}
    assert facts(by_name["conv.weight"]).output_shape == (8, 3, 3, 3)
    assert by_name["token"].path == "" and by_name["token"].part == "token"


def test_the_table_has_the_promised_columns_and_prints() -> None:
    found = surgery.components(Zoo(), IMAGE, kwargs={"bias": BIAS})
    frame = found.to_pandas()
    assert list(frame) == COLUMNS and len(frame) == len(found)
    assert "conv" in str(found) and "conv" in repr(found)
    assert found[0] in found and found[-1].name == "head" and len(found[1:3]) == 2


@pytest.mark.parametrize("training", [True, False])
def test_the_model_and_all_generators_are_as_before(training: bool) -> None:
    model = Zoo().train(training)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    buffers = {n: id(b) for n, b in model.named_buffers()}
    modes = [m.training for m in model.modules()]
    legacy: Any = np.random.get_state()
    rng = torch.get_rng_state(), random.getstate(), legacy[1]
    surgery.components(model, IMAGE, kwargs={"bias": BIAS})
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert {n: id(b) for n, b in model.named_buffers()} == buffers
    assert modes == [m.training for m in model.modules()]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.equal(torch.get_rng_state(), rng[0]) and random.getstate() == rng[1]
    now: Any = np.random.get_state()
    assert np.array_equal(now[1], rng[2])


class Mends(nn.Module):
    """Changes a sparse buffer, one that is rebound, and one that is not yet there."""

    graph: Tensor
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("graph", torch.eye(4).to_sparse())
        self.register_buffer("seen", torch.zeros(4))
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        self.graph *= 2
        self.seen = self.seen + 1
        self.register_buffer("late", x)
        return self.norm(x) + torch.sparse.mm(self.graph, x)  # type: ignore[no-any-return]


def test_buffers_of_any_layout_are_given_back() -> None:
    model = Mends().train()
    buffers = {name: (b, b.to_dense().clone()) for name, b in model.named_buffers()}
    surgery.components(model, torch.ones(4, 4))
    assert dict(model.named_buffers()).keys() == buffers.keys()
    for name, now in model.named_buffers():
        assert now is buffers[name][0]
        assert torch.equal(now.to_dense(), buffers[name][1])


def test_a_buffer_that_was_resized_is_given_back_like_every_other() -> None:
    class Resizes(Mends):
        def forward(self, x: Tensor) -> Tensor:
            self.seen.resize_(7)
            return super().forward(x)

    model = Resizes().train()
    surgery.components(model, torch.ones(4, 4))
    assert "late" not in dict(model.named_buffers())
    assert torch.equal(model.seen, torch.zeros(4))
    assert torch.equal(model.norm.running_mean, torch.zeros(4))  # type: ignore[arg-type]
    assert torch.equal(model.graph.to_dense(), torch.eye(4))


def test_the_hooks_come_off_when_the_forward_fails() -> None:
    model = Zoo()
    with pytest.raises(DataError, match=r"Zoo could not run .*\(2, 4, 8, 8\), \(5,\)"):
        surgery.components(model, torch.zeros(2, 4, 8, 8), kwargs={"bias": BIAS})
    with pytest.raises(DataError, match="tensors of shape none"):
        surgery.components(model)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_what_is_no_kind_is_refused() -> None:
    with pytest.raises(TargetError, match=r"is no kind; did you mean 'branch'.* Kinds"):
        surgery.components(Zoo(), IMAGE, kinds=("branches",))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    return timm.create_model("test_vit").eval()


VIT_INPUT = torch.randn(1, 3, 160, 160)


def test_every_kind_but_the_finest_is_listed_unless_asked_for(vit: nn.Module) -> None:
    found = surgery.components(vit, VIT_INPUT)
    kinds = {part.kind for part in found}
    assert kinds == {"input", "module", "skip", "branch", "cat", "function"}
    assert all(part.place is None or part.place.listed for part in found)
    heads = surgery.components(vit, VIT_INPUT, kinds=("head",))
    assert [part.name for part in heads] == [
        f"blocks.{block}.attn:head#{head}" for block in range(6) for head in range(2)
    ]


def test_each_kind_is_listed_alone(vit: nn.Module) -> None:
    everything = surgery.components(vit, VIT_INPUT)
    for kind in ("skip", "branch", "cat", "function", "module", "input"):
        only = surgery.components(vit, VIT_INPUT, kinds=(kind,))
        assert list(only) == [part for part in everything if part.kind == kind]


def test_a_part_comes_after_its_owner_in_order_of_execution(vit: nn.Module) -> None:
    names = [part.name for part in surgery.components(vit, VIT_INPUT)]
    owner = names.index("blocks.1")
    assert names[owner : owner + 6] == [
        "blocks.1",
        "blocks.1:skip#0",
        "blocks.1:branch#0",
        "blocks.1:skip#1",
        "blocks.1:branch#1",
        "blocks.1.norm1",
    ]


def test_columns_of_parts_tell_what_a_cut_would_take(vit: nn.Module) -> None:
    frame = surgery.components(vit, VIT_INPUT).to_pandas().set_index("component")
    branch, skip = frame.loc["blocks.0:branch#0"], frame.loc["blocks.0:skip#0"]
    inside = frame.loc[["blocks.0.norm1", "blocks.0.attn"]]
    assert branch["parameters"] == inside["parameters"].sum()
    assert branch["macs"] == inside["macs"].sum() and branch["identity"] == "yes"
    assert skip["parameters"] == skip["macs"] == 0 and skip["identity"] == "no"
    assert tuple(skip["output_shape"]) == (1, 101, 64) and skip["type"] == "add"


def test_channels_are_those_of_modules_with_weights() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    found = surgery.components(model, torch.ones(1, 1, 2, 2), kinds=("channel",))
    assert [part.name for part in found] == [
        *(f"0:channel#{i}" for i in range(3)),
        *(f"3:channel#{i}" for i in range(2)),
    ]
    assert all(facts(part).parameters == 0 for part in found)


def test_every_name_is_a_target_that_names_it_again(vit: nn.Module) -> None:
    for part in surgery.components(vit, VIT_INPUT, kinds=("module", "parameter")):
        assert resolve(vit, str(part), called_only=False) in ((part,), ()) or (
            "container" in facts(part).note
        )


def test_odd_names_of_modules_are_quoted() -> None:
    model = _Odd()
    found = surgery.components(model, torch.ones(1, 2), kinds=("module",))
    names = [str(part) for part in found]
    for name in names[1:]:
        with surgery.ablate(model, name) as op:
            assert not model(torch.ones(1, 2)).any()
        assert [str(c) for c in op.components] == [name]


class _Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        keys = ("a b", "x@1", "k:v", "st*r")
        self.parts = nn.ModuleDict({key: nn.Linear(2, 2) for key in keys})

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts.values():
            x = x * part(x)
        return x


def test_a_model_on_meta_is_described_without_memory() -> None:
    with torch.device("meta"):
        model = timm.create_model("resnet18")
        x = torch.empty(2, 3, 64, 64)
    found = surgery.components(model.train(), x)
    real = surgery.components(timm.create_model("resnet18"), torch.zeros(2, 3, 64, 64))
    assert [facts(p).macs for p in found] == [facts(p).macs for p in real]


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_wrappers_are_looked_through(wrap: Any) -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    found = surgery.components(wrap(model), torch.ones(1, 2))
    assert [str(part) for part in found] == ["input", "0"]


def test_hugging_face_inputs_go_by_keyword() -> None:
    hf = pytest.importorskip("transformers")
    config = hf.BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
    )
    ids = torch.randint(20, (2, 5))
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    found = surgery.components(hf.BertModel(config), kwargs=given)
    names = [str(part) for part in found]
    assert names[:2] == ["input:input_ids", "input:attention_mask"]
    assert "encoder.layer.0.attention" in names


def test_a_list_of_images_is_an_input() -> None:
    class Detector(nn.Module):
        def forward(self, images: list[Tensor]) -> Tensor:
            return torch.stack([x.sum() for x in images])

    model, images = Detector(), [torch.ones(3, 4, 4), torch.ones(3, 2, 2)]
    (found,) = (c for c in surgery.components(model, images) if c.kind == "input")
    assert found.facts is not None and found.facts.input_shape == (3, 4, 4)
    with surgery.ablate(model, found):
        assert not model(images).any()
    with pytest.raises(TargetError, match="'images', is no tensor but holds some"):
        surgery.ablate(model, "input:channel#0", inputs=(images,))
