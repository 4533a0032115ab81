"""Models to resolve targets in (on the meta device: names need no numbers)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

import pytest
import timm
import torch
from torch import Tensor, nn

from surgery.anatomy import Facts, InputField, Record


class MakeRecord(Protocol):
    def __call__(
        self,
        model: nn.Module,
        calls: Mapping[str, int] = ...,
        bypassed: Collection[str] = ...,
        inputs: Mapping[str, tuple[int, ...]] = ...,
    ) -> Record: ...


@pytest.fixture
def make_record() -> MakeRecord:
    """A record by hand: every module called once unless `calls` says otherwise."""

    def make(
        model: nn.Module,
        calls: Mapping[str, int] = {},
        bypassed: Collection[str] = (),
        inputs: Mapping[str, tuple[int, ...]] = {"x": (2, 3, 8, 8)},
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
