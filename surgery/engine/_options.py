"""Engine: how a sweep runs."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from surgery.backend import available_backends
from surgery.engine._place import Place
from surgery.errors import BackendError, DataError

_AMP = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_FORMATS = {
    "channels_last": torch.channels_last,
    "channels_last_3d": torch.channels_last_3d,
}


@dataclass(frozen=True)
class Engine:
    """How to run a sweep.

    Attributes:
        backend: How variants run. `"fused"`: all together, in one program made from the
            model's graph. `"compiled"`: that program, compiled by torch.compile.
            `"cudagraph"`: the program recorded once for each shape of batches and
            launched as a whole, on a CUDA device. `"replay"`: without a graph, by
            modules that give again what they gave before. `"auto"`: what fits the
            device, where it pays and can be; until then replay, where that does; else
            one by one. Any other name: one by one, by that backend.
        device: Where to run. Default: where the model is. The model is moved for the
            sweep and back afterwards.
        amp: Autocast type, `"bfloat16"` or `"float16"`. Default: none.
        memory_format: How images and the weights of convolutions lie in memory during
            the sweep, `"channels_last"` or `"channels_last_3d"`; convolutions often run
            faster so. Default: as they are.
        memory_budget: Bytes that the values of variants in flight may take. Default: a
            quarter of what is free.
        plan: `provenance["plan"]` of an earlier ranking: what was chosen for speed then
            (which evaluator from which batch on, how many variants at a time) is done
            again, on the same components and batches. Default: chosen by measuring.
        explain: Whether to print what was chosen, and what it costs.
        sharded: Whether the processes of one `torchrun` share the batches of a ranking;
            all of them must then call it. `False`: each ranks by itself.
    """

    backend: str = "auto"
    device: str | torch.device | None = None
    amp: str | torch.dtype | None = None
    memory_format: str | torch.memory_format | None = None
    memory_budget: int | None = None
    plan: Mapping[str, Any] | None = None
    explain: bool = False
    sharded: bool = True

    def __post_init__(self) -> None:
        if self.backend not in available_backends():
            raise BackendError(
                f"unknown backend {self.backend!r}; there are "
                f"{', '.join(available_backends())}"
            )
        if self.memory_budget is not None and self.memory_budget < 1:
            raise DataError(
                f"memory_budget is a number of bytes, got {self.memory_budget!r}"
            )
        if self.plan is not None and "evaluator" not in self.plan:
            raise DataError(
                'plan is provenance["plan"] of a ranking, as in Engine(plan=ranking.'
                f'provenance["plan"]); got {self.plan!r:.100}'
            )
        self.autocast_type()
        self.format()

    def autocast_type(self) -> torch.dtype | None:
        """The type of `amp`, if there is one."""
        if self.amp is None or self.amp in _AMP.values():
            return self.amp  # type: ignore[return-value] # pyright: ignore
        if self.amp not in _AMP:
            raise DataError(
                f"amp must be one of {', '.join(map(repr, _AMP))}, got {self.amp!r}"
            )
        return _AMP[str(self.amp)]

    def format(self) -> torch.memory_format | None:
        """The memory format, if there is one."""
        if self.memory_format is None or self.memory_format in _FORMATS.values():
            return self.memory_format  # type: ignore[return-value] # pyright: ignore
        if self.memory_format not in _FORMATS:
            raise DataError(
                f"memory_format must be one of {', '.join(map(repr, _FORMATS))}, got "
                f"{self.memory_format!r}"
            )
        return _FORMATS[str(self.memory_format)]

    @contextmanager
    def placed(self, model: nn.Module) -> Generator[Place]:
        """Have the model on the device, under autocast; put it back afterwards."""
        devices = list(dict.fromkeys(p.device for p in model.parameters()))
        home = devices[0] if devices else torch.device("cpu")
        device = home if self.device is None else torch.device(self.device)
        moves = device.type != home.type or device.index not in (None, home.index)
        device = device if moves else home  # "cuda" means the GPU where it is
        if moves and len(devices) > 1:
            raise DataError(
                f"the model is spread over {len(devices)} devices: leave Engine(device="
                "...) out to run it as it lies"
            )
        amp = self.autocast_type()
        place = Place(device, self.format())
        try:
            if moves:
                model.to(device)
            with (
                torch.autocast(device.type, dtype=amp) if amp else nullcontext(),
                place.holding(model),
            ):
                yield place
        finally:
            if moves:
                model.to(home)
