"""Engine: how a sweep runs."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from surgery.backend import available_backends
from surgery.errors import BackendError, DataError

_AMP = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Engine:
    """How to run a sweep.

    Attributes:
        backend: How variants run. `"fused"`: all together, in one program made from the
            model's graph. `"cudagraph"`: the same, recorded once for each shape of
            batches and launched as a whole, on a CUDA device. `"replay"`: without a
            graph, by modules that give again what they gave before. `"auto"`: these
            where it pays and can be, else one by one.
            Any other name: one by one, by that backend.
        device: Where to run. Default: where the model is. The model is moved for the
            sweep and back afterwards.
        amp: Autocast type, `"bfloat16"` or `"float16"`. Default: none.
        memory_budget: Bytes that the values of variants in flight may take. Default: a
            quarter of what is free.
        sharded: Whether the processes of one `torchrun` share the batches of a ranking;
            all of them must then call it. `False`: each ranks by itself.
    """

    backend: str = "auto"
    device: str | torch.device | None = None
    amp: str | torch.dtype | None = None
    memory_budget: int | None = None
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
        self.autocast_type()

    def autocast_type(self) -> torch.dtype | None:
        """The type of `amp`, if there is one."""
        if self.amp is None or self.amp in _AMP.values():
            return self.amp  # type: ignore[return-value] # pyright: ignore
        if self.amp not in _AMP:
            raise DataError(
                f"amp must be one of {', '.join(map(repr, _AMP))}, got {self.amp!r}"
            )
        return _AMP[str(self.amp)]

    @contextmanager
    def placed(self, model: nn.Module) -> Generator[torch.device]:
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
        try:
            if moves:
                model.to(device)
            with torch.autocast(device.type, dtype=amp) if amp else nullcontext():
                yield device
        finally:
            if moves:
                model.to(home)
