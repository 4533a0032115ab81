"""Slots: which device each worker trains on, by their number or by free memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from surgery.errors import StudyError


def slots(devices: Sequence[str], workers: int, memory: int | None) -> list[str]:
    """The device of each worker, devices in turn; fewer than asked for if need be.

    Args:
        devices: Names of devices.
        workers: How many workers there are at most.
        memory: Bytes that each may need of its device; `None`: they always fit.

    Raises:
        StudyError: Nothing fits anywhere, or a device's memory is not known.
    """
    if memory is None:
        return [devices[index % len(devices)] for index in range(workers)]
    if isinstance(memory, bool) or not isinstance(memory, int) or memory < 1:
        raise StudyError(
            f"memory= takes the bytes of a GPU that a trial may need, such as "
            f"8 * 2**30, got {memory!r}"
        )
    free = {device: free_memory(device) for device in dict.fromkeys(devices)}
    left = {device: room // memory for device, room in free.items()}
    found: list[str] = []
    while len(found) < workers and any(left.values()):
        for device in left:
            if left[device] and len(found) < workers:
                left[device] -= 1
                found.append(device)
    if not found:
        shown = ", ".join(f"{device} {room:,}" for device, room in free.items())
        raise StudyError(
            f"no trial fits: memory={memory:,} bytes, free are {shown}; free some, or "
            "say how much less a trial needs"
        )
    return found


def free_memory(device: str) -> int:
    """Bytes that are free on a GPU.

    Raises:
        StudyError: It is no GPU.
    """
    if torch.device(device).type != "cuda":
        raise StudyError(
            f"memory= counts that of GPUs, got device {device!r}; leave it out, and "
            "set workers= to how many trials fit"
        )
    free, _ = torch.cuda.mem_get_info(device)
    return free
