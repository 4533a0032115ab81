"""Models with awkward modules in them, by their row of the table in the docs."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.utils import parametrizations, prune

from tests.awkward.model import WIDTH, batch, net


@dataclass(frozen=True)
class Subject:
    """One way to be awkward.

    Attributes:
        make: A model that has it at `block.fc1` and `block.attn.proj`, or all over.
        prefix: What stands before the names of the model's parts.
        parameter: Name of a parameter of `block.fc1` to zero, below it.
        part: The name of its `block.fc1`.
        renamed: Names of stages that are others here.
    """

    make: Callable[[], nn.Module]
    prefix: str = ""
    parameter: str = "weight"
    part: str = "block.fc1"
    renamed: Mapping[str, str] = field(default_factory=dict[str, str])

    def rename(self, target: str) -> str:
        """A target as it is called in this model."""
        for old, new in self.renamed.items():
            target = target.replace(old, new, 1)
        return target


def _both(change: Callable[[nn.Module], object]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        model = net()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of the older ways
            change(model.block.fc1)
            change(model.block.attn.proj)
        return model  # type: ignore[no-any-return]

    return make


def _lora() -> nn.Module:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        target_modules=["fc1", "proj"], r=2, init_lora_weights=False
    )
    model: nn.Module = peft.get_peft_model(net(), config)
    return model


def _group() -> None:
    if not dist.is_initialized():
        store: Any = vars(dist)["HashStore"]()
        dist.init_process_group("gloo", store=store, rank=0, world_size=1)


def _ddp() -> nn.Module:
    _group()
    return nn.parallel.DistributedDataParallel(net())


def _fully_sharded() -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    _group()
    model = net()
    fully_shard(model.block)
    fully_shard(model)
    return model  # type: ignore[no-any-return]


def _offloaded() -> nn.Module:
    accelerate = pytest.importorskip("accelerate")
    places = {"stem": "cpu", "block": "disk", "head": "cpu"}
    model: nn.Module = accelerate.dispatch_model(
        net(), device_map=places, main_device="cpu", offload_dir=tempfile.mkdtemp()
    )
    return model


def _cpu_offloaded() -> nn.Module:
    accelerate = pytest.importorskip("accelerate")
    model: nn.Module = accelerate.cpu_offload(net(), torch.device("cpu"))
    return model


def _bits(bits: int) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        bnb = pytest.importorskip("bitsandbytes")

        def quantised(layer: nn.Linear) -> nn.Module:
            if bits == 8:
                new: Any = bnb.nn.Linear8bitLt(WIDTH, WIDTH, has_fp16_weights=False)
            else:
                new = bnb.nn.Linear4bit(WIDTH, WIDTH, compute_dtype=torch.float32)
            new.load_state_dict(layer.state_dict())
            return new.to("cpu")  # type: ignore[no-any-return]

        model = net()
        model.block.fc1 = quantised(model.block.fc1)
        model.block.attn.proj = quantised(model.block.attn.proj)
        return model  # type: ignore[no-any-return]

    return make


def _torchao() -> nn.Module:
    quantization = pytest.importorskip("torchao.quantization")
    model = net()
    quantization.quantize_(
        model,
        quantization.Int8WeightOnlyConfig(),
        filter_fn=lambda module, name: name in ("block.fc1", "block.attn.proj"),
    )
    return model  # type: ignore[no-any-return]


def _dynamic() -> nn.Module:
    model = net()
    return torch.ao.quantization.quantize_dynamic(model, {nn.Linear})  # type: ignore[no-any-return]


def _scripted() -> nn.Module:
    model = net()
    model.block = torch.jit.script(model.block)
    return model  # type: ignore[no-any-return]


def _traced() -> nn.Module:
    model = net()
    model.block = torch.jit.trace(model.block, batch())
    return model  # type: ignore[no-any-return]


def _lazy() -> nn.Module:
    model = net()
    model.block.fc1 = nn.LazyLinear(WIDTH)
    return model  # type: ignore[no-any-return]


def _lazy_after() -> nn.Module:
    model = _lazy()
    torch.manual_seed(3)
    model(batch())
    return model


def _compiled() -> nn.Module:
    model = net()
    model.block = torch.compile(model.block, backend="eager")
    return model  # type: ignore[no-any-return]


class Pipeline(nn.Module):
    """Stages in a ModuleDict, run in an order that is data."""

    def __init__(self, whole: Any) -> None:
        super().__init__()
        stages = {"in": whole.stem, "middle": whole.block, "out": whole.head}
        self.stages = nn.ModuleDict(stages)
        self.order = ("in", "middle", "out")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name in self.order:
            x = self.stages[name](x)
        return x


ORIGINAL = "parametrizations.weight.original"
SUBJECTS: dict[str, Subject] = {
    "parametrizations.weight_norm": Subject(
        _both(parametrizations.weight_norm), parameter=f"{ORIGINAL}0"
    ),
    "parametrizations.spectral_norm": Subject(
        _both(parametrizations.spectral_norm), parameter="bias"
    ),
    "parametrizations.orthogonal": Subject(
        _both(parametrizations.orthogonal), parameter="bias"
    ),
    "weight_norm (older)": Subject(_both(nn.utils.weight_norm), parameter="weight_g"),
    "spectral_norm (older)": Subject(_both(nn.utils.spectral_norm), parameter="bias"),
    "prune": Subject(
        _both(lambda m: prune.l1_unstructured(m, "weight", 0.5)),
        parameter="weight_orig",
    ),
    "PEFT LoRA": Subject(
        _lora, prefix="base_model.model.", parameter="lora_B.default.weight"
    ),
    "DataParallel": Subject(lambda: nn.DataParallel(net())),
    "DistributedDataParallel": Subject(_ddp),
    "fully_shard (FSDP2)": Subject(_fully_sharded),
    "accelerate, offloaded to disk": Subject(_offloaded),
    "accelerate, offloaded to CPU": Subject(_cpu_offloaded),
    "bitsandbytes, 8 bits": Subject(_bits(8)),
    "bitsandbytes, 4 bits": Subject(_bits(4)),
    "torchao, int8 weights": Subject(_torchao),
    "quantize_dynamic": Subject(_dynamic),
    "torch.jit.script": Subject(_scripted),
    "torch.jit.trace": Subject(_traced),
    "lazy, not yet run": Subject(_lazy),
    "lazy, run once": Subject(_lazy_after),
    "torch.compile of a part": Subject(_compiled, part="block._orig_mod.fc1"),
    "ModuleDict": Subject(
        lambda: Pipeline(net()), prefix="stages.", renamed={"block": "middle"}
    ),
}
