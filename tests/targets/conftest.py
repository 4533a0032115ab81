"""Models to resolve targets in (on the meta device: names need no numbers)."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import pytest
import timm
import torch
from torch import Tensor, nn

from surgery.anatomy import (
    Component,
    Facts,
    InputField,
    Kind,
    Place,
    Record,
    Site,
    Slice,
)


class MakeRecord(Protocol):
    def __call__(
        self,
        model: nn.Module,
        calls: Mapping[str, int] = ...,
        bypassed: Collection[str] = ...,
        inputs: Mapping[str, tuple[int, ...]] = ...,
        parts: Sequence[Component] = ...,
    ) -> Record: ...


@pytest.fixture
def make_record() -> MakeRecord:
    """A record by hand: every module called once unless `calls` says otherwise."""

    def make(
        model: nn.Module,
        calls: Mapping[str, int] = {},
        bypassed: Collection[str] = (),
        inputs: Mapping[str, tuple[int, ...]] = {"x": (2, 3, 8, 8)},
        parts: Sequence[Component] = (),
    ) -> Record:
        facts = {
            path: Facts(type=type(module).__name__, calls=calls.get(path, 1))
            for path, module in model.named_modules()
        }
        fields = [InputField(name, shape, "float32") for name, shape in inputs.items()]
        return Record(
            facts=facts,
            order=tuple(path for path, fact in facts.items() if fact.calls),
            bypassed=frozenset(bypassed),
            inputs=tuple(fields),
            batch_size=2,
            parts=tuple(parts),
        )

    return make


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.Linear(4, 4)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.act(self.attn(x)))
        return y


class Stack(nn.Module):
    """Containers without a forward, a parameter of its own, a tied weight."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(4))
        self.register_buffer("scale", torch.ones(1))
        self.layers = nn.ModuleList([Block(), Block(), Block()])
        self.norms = nn.ModuleDict({"pre": nn.LayerNorm(4), "post": nn.LayerNorm(4)})
        self.prompts = nn.ParameterList([nn.Parameter(torch.zeros(4))])
        self.empty = nn.ModuleList()
        self.head = nn.Linear(4, 4, bias=False)
        first = self.layers[0]
        assert isinstance(first, Block)
        self.head.weight = first.attn.weight


class Pair(nn.Module):
    """`b.shared` is `a.shared`: an alias."""

    def __init__(self) -> None:
        super().__init__()
        shared = nn.Linear(2, 2)
        self.a = nn.Sequential(OrderedDict(own=nn.ReLU(), shared=shared))
        self.b = nn.Sequential(OrderedDict(shared=shared, own=nn.ReLU()))


class Inner(nn.Module):
    """Attention by hand, up to the projection that its heads enter."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.proj = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn = Inner()
        self.mlp = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Net(nn.Module):
    """What `parted` describes: its forwards are never run."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.blocks = nn.ModuleList([Layer(), Layer()])
        self.dense = nn.Sequential(nn.ReLU())
        self.merge = nn.Sequential(nn.ReLU())
        self.lstm = nn.LSTM(8, 8)
        self.bypassed = nn.Linear(8, 8)
        self.idle = nn.Linear(8, 8)
        self.odd = nn.ModuleDict({"a b": nn.Linear(8, 8)})


def part(
    path: str,
    name: str,
    kind: Kind,
    index: int,
    operand: int | None = None,
    place: Place | None = None,
) -> Component:
    """A part as a record has it; by default, of the join or function of its kind."""
    function = {"skip": "add", "branch": "add", "gate": "mul"}.get(kind, kind)
    function = name.partition("#")[0] if kind == "function" else function
    site = Site(path, function, index, operand)
    return Component(
        f"{path}:{name}",
        kind,
        path,
        part=function if kind == "function" else None,
        index=index,
        operand=None if kind in ("skip", "branch", "gate") else operand,
        place=place or Place((site,)),
        facts=Facts(type=function, calls=1),
    )


def _head(path: str, number: int) -> Component:
    pieces = ((4 * number, 4 * number + 3),)
    site = Site(f"{path}.proj", "linear", 0, 0, axis=-1, pieces=pieces)
    return Component(
        f"{path}:head#{number}",
        "head",
        path,
        slice=Slice("head", number, number),
        place=Place((site,)),
        facts=Facts(type="head", calls=1),
    )


@pytest.fixture
def net() -> nn.Module:
    return Net()


@pytest.fixture
def parted(make_record: MakeRecord) -> Record:
    """What a forward of `Net` would have shown: every kind of part."""
    parts = [part("", "flatten#0", "function", 0)]
    for block in ("blocks.0", "blocks.1"):
        parts += [_head(f"{block}.attn", number) for number in (0, 1)]
        parts += [part(f"{block}.attn", "softmax#0", "function", 0)]
        for k in (0, 1):
            parts += [
                part(block, f"skip#{k}", "skip", k, 0),
                part(block, f"branch#{k}", "branch", k, 1),
            ]
    parts += [part("blocks.1", "gate", "gate", 0, 1)]
    parts += [part("dense", f"cat#0.arg{i}", "cat", 0, i) for i in range(3)]
    parts += [part("dense", "cat#0", "cat", 0)]
    parts += [part("merge", f"add#0.arg{i}", "add", 0, i) for i in range(2)]
    parts += [part("merge", f"relu#{k}", "function", k) for k in (0, 1)]
    record = make_record(
        Net(),
        calls={
            "blocks": 0, "bypassed": 0, "idle": 0, "odd": 0, "merge": 2,
            "blocks.1": 2, "blocks.1.attn": 2, "blocks.1.attn.proj": 2,
        },
        bypassed=["bypassed"],
        parts=parts,
    )  # fmt: skip
    shapes = {"": (2, 8), "stem": (2, 8, 4, 4), "lstm": (2, 5, 8), "merge": (2,)}
    facts = {
        path: dataclasses.replace(
            fact,
            output_shape=shapes.get(path, (2, 5, 8)),
            note="structured output (3 tensors)" if path == "lstm" else "",
        )
        for path, fact in record.facts.items()
    }
    return dataclasses.replace(record, facts=facts)


@pytest.fixture
def stack() -> nn.Module:
    return Stack()


@pytest.fixture
def pair() -> nn.Module:
    return Pair()


@pytest.fixture(scope="session")
def resnet() -> nn.Module:
    with torch.device("meta"):
        model: nn.Module = timm.create_model("resnet18")
    return model


@pytest.fixture(scope="session")
def swin() -> nn.Module:
    with torch.device("meta"):
        model: nn.Module = timm.create_model("swin_tiny_patch4_window7_224")
    return model


@pytest.fixture(scope="session")
def t5() -> nn.Module:
    transformers: Any = pytest.importorskip("transformers")
    config = transformers.T5Config(
        vocab_size=16, d_model=8, d_kv=4, d_ff=8, num_layers=2, num_heads=2
    )
    model: nn.Module = transformers.T5ForConditionalGeneration(config)
    return model


@pytest.fixture(scope="session")
def albert() -> nn.Module:
    transformers: Any = pytest.importorskip("transformers")
    config = transformers.AlbertConfig(
        vocab_size=16,
        embedding_size=8,
        hidden_size=8,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=8,
    )
    model: nn.Module = transformers.AlbertModel(config)
    return model


@pytest.fixture(scope="session")
def beit() -> nn.Module:
    """Its attention uses `qkv.weight` and never calls `qkv`."""
    model: nn.Module = timm.create_model(
        "beit_base_patch16_224", img_size=32, embed_dim=8, depth=2, num_heads=2
    )
    return model.eval()


@pytest.fixture(scope="session")
def names() -> Callable[[object], list[str]]:
    """`str` of each component."""

    def of(components: Any) -> list[str]:
        return [str(component) for component in components]

    return of
