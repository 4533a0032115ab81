"""Which device each worker trains on: in turn, and as many as its memory has room."""

from __future__ import annotations

from typing import Any

import pytest

from surgery.errors import StudyError
from surgery.study import LocalProcesses
from surgery.study.executors import _slots
from surgery.study.executors._slots import slots

FREE = {"cuda:0": 10, "cuda:1": 25, "cuda:2": 3}


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(_slots, "free_memory", FREE.__getitem__)
    return list(FREE)


def test_workers_take_devices_in_turn() -> None:
    assert slots(["cuda:0", "cuda:1"], 4, None) == ["cuda:0", "cuda:1"] * 2
    assert slots(["cpu"], 3, None) == ["cpu"] * 3


def test_a_gpu_has_no_more_workers_than_fit_into_its_free_memory(
    gpus: list[str],
) -> None:
    assert slots(gpus, 9, 8) == ["cuda:0", "cuda:1", "cuda:1", "cuda:1"]
    assert slots(gpus, 2, 8) == ["cuda:0", "cuda:1"]
    assert LocalProcesses(9, devices=gpus, memory=8).capacity == 4
    assert LocalProcesses(9, devices=gpus, memory=3).capacity == 9


def test_what_fits_nowhere_is_told(gpus: list[str]) -> None:
    with pytest.raises(StudyError, match=r"no trial fits.*cuda:1 25"):
        slots(gpus, 2, 26)


@pytest.mark.parametrize("memory", [0, True, "8 GB", 1.5])
def test_memory_is_a_number_of_bytes(memory: Any) -> None:
    with pytest.raises(StudyError, match="takes the bytes of a GPU"):
        slots(["cuda:0"], 2, memory)


def test_memory_of_a_cpu_is_not_counted() -> None:
    with pytest.raises(StudyError, match="counts that of GPUs, got device 'cpu'"):
        LocalProcesses(2, devices=["cpu"], memory=100)
