"""Proof that an operation took part: counts that work eagerly and inside graphs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Tally:
    """A counter that also counts inside compiled code.

    A Python number would be burnt into the compiled graph (or recompile it at every
    step), so a tensor counts there.
    """

    def __init__(self) -> None:
        self._number = 0
        self._traced: Tensor | None = None if _tracing() else _zero()

    def add(self) -> None:
        """Count one."""
        if not _tracing():
            self._number += 1
        elif self._traced is not None and not _exporting():
            self._traced.add_(1)

    def __int__(self) -> int:
        if _tracing() or self._traced is None:
            return self._number
        return self._number + int(self._traced)


class Proof:
    """How often an edit fired and whether it changed its component's output."""

    def __init__(self) -> None:
        self.count = Tally()
        self.note = ""
        self._changed = False
        # On an accelerator the answer stays there until somebody asks.
        self._pending: Tensor | None = None
        self._held = False

    def fired(self, old: Tensor, new: Tensor) -> None:
        """Take note of one firing that replaced `old` by `new`."""
        self.count.add()
        if self._changed or old is new or _tracing() or _transformed(old):
            return
        with torch.no_grad():
            alike = not old.is_nested and old.shape == new.shape
            differs = (old != new).any() if alike else None
        if differs is None:
            self._changed = True
        elif self._pending is not None and self._pending.device == differs.device:
            if self._held:
                self._pending.logical_or_(differs)
            else:  # it may be an inference tensor, which stays as it is
                self._pending = self._pending | differs
        elif differs.device.type == "cpu":
            self._changed = bool(differs)
        else:
            self._collect()
            self._pending, self._held = differs, False

    def hold(self, device: torch.device) -> None:
        """Have firings on a device write into one tensor there, and wait for nothing.

        What records a firing to repeat it needs that: the tensor stays.
        """
        self._collect()
        if not self._changed and self._pending is None:
            self._pending = torch.zeros((), dtype=torch.bool, device=device)
            self._held = True

    @property
    def changed(self) -> bool | None:
        """Whether the output changed; `None` if only compiled code saw it."""
        self._collect()
        if self._changed:
            return True
        return None if int(self.count) > self.count._number else False  # pyright: ignore

    def add(self, fired: int, changed: bool | None) -> None:
        """Add what another process saw."""
        self.count._number += fired  # pyright: ignore
        self._changed = self._changed or bool(changed)

    def _collect(self) -> None:
        if self._pending is not None:
            self._changed = self._changed or bool(self._pending)
            if not self._held:
                self._pending = None

    def __getstate__(self) -> dict[str, Any]:
        self._collect()
        return {**self.__dict__, "_pending": None, "_held": False}


def _zero() -> Tensor:
    return torch.zeros((), dtype=torch.int64)


def _tracing() -> bool:
    return torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None  # pyright: ignore


def _exporting() -> bool:
    # Older tracers take `is_exporting()` to be true in whatever they compile.
    return bool(torch.compiler._is_exporting_flag)  # pyright: ignore


def _transformed(tensor: Tensor) -> bool:
    """Inside vmap and its kin values cannot be read."""
    return torch._C._functorch.is_functorch_wrapped_tensor(tensor)  # pyright: ignore
