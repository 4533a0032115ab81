"""Engine: options are checked at once, and the model is put back afterwards."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import surgery
from surgery import Engine
from surgery.errors import BackendError, DataError


@pytest.fixture
def model() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3)).eval()


@pytest.fixture
def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(40, 6, generator=generator), torch.arange(40) % 3


def test_an_unknown_backend_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        BackendError,
        match=r"'magic'.*auto, cudagraph, fused, replay, compiled, hooks",
    ):
        Engine(backend="magic")


@pytest.mark.parametrize("amp", ["half", torch.float64, 16])
def test_an_amp_that_is_no_half_precision_is_refused(amp: Any) -> None:
    with pytest.raises(DataError, match="amp must be one of 'bfloat16', 'float16'"):
        Engine(amp=amp)


@pytest.mark.parametrize("amp", ["bfloat16", torch.bfloat16])
def test_amp_runs_every_forward_under_autocast(
    model: nn.Sequential, data: tuple[torch.Tensor, torch.Tensor], amp: Any
) -> None:
    ranking = surgery.rank(
        model,
        data,
        "0",
        metric="cross_entropy",
        engine=Engine(amp=amp),
        progress=False,
    )
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(data[0])
        first, act, last = model.children()
        without = last(act(torch.zeros_like(first(data[0]))))
    loss = nn.functional.cross_entropy
    (row,) = ranking
    assert row.baseline == pytest.approx(float(loss(logits.float(), data[1])), rel=1e-6)
    assert row.value == pytest.approx(float(loss(without.float(), data[1])), rel=1e-6)


def test_a_model_on_several_devices_is_not_moved(
    model: nn.Sequential, data: tuple[torch.Tensor, torch.Tensor]
) -> None:
    model.append(nn.Linear(3, 3, device="meta"))
    with pytest.raises(DataError, match=r"spread over 2 devices.*leave Engine"):
        surgery.rank(model, data, "0", engine=Engine(device="meta"), progress=False)


@pytest.mark.gpu
def test_a_ranking_on_an_accelerator_agrees_with_one_on_the_cpu(
    model: nn.Sequential, data: tuple[torch.Tensor, torch.Tensor]
) -> None:
    for mode in ("zero", "mean", "resample", "noise", "reinit"):
        rows = [
            surgery.rank(
                model,
                data,
                ["0", "2"],
                mode=mode,
                metric=["accuracy", "f1:macro", "cross_entropy"],
                engine=Engine(device=device),
                progress=False,
            ).rows
            for device in ("cpu", "cuda")
        ]
        if mode != "noise":  # drawn on the device
            for cpu, cuda in zip(*rows, strict=True):
                assert cpu.component == cuda.component
                assert cpu.value == pytest.approx(cuda.value, abs=1e-5)
    assert {p.device.type for p in model.parameters()} == {"cpu"}
