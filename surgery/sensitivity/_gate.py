"""Gates: edits whose dial is a tensor, one number per sample, to differentiate by."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from surgery.ablation import Variant
from surgery.anatomy import Component
from surgery.backend import get_backend
from surgery.errors import OperationError
from surgery.ops import Edit, Inputs


@final
class Dials:
    """The dials of all rows on the batch under way: one tensor per row.

    Attributes:
        tensors: The dials.
        idle: Rows whose dials are at 0 and not derived by.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.tensors: list[Tensor] = []
        self.idle: set[int] = set()

    def take_out(self, rows: NDArray[np.int64], device: torch.device) -> None:
        """Set one of them to 1 for each sample, and all others to 0.

        Args:
            rows: Which one, by sample.
            device: Where the samples are.
        """
        samples = len(rows)
        self.turn(0.0, samples, device)
        out = set(rows.tolist())
        for row in out:
            self.tensors[row] = torch.from_numpy(rows == row).to(self.tensors[row])
        self.idle = set(range(self._rows)) - out

    def turn(self, to: float, samples: int, device: torch.device) -> list[Tensor]:
        """Set all of them, for so many samples.

        Returns:
            The tensors, leaves of the graph that the next forward makes.
        """
        self.idle = set()
        exact = torch.float32 if device.type == "mps" else torch.float64
        self.tensors = [
            torch.full((samples,), to, dtype=exact, device=device, requires_grad=True)
            for _ in range(self._rows)
        ]
        return self.tensors


@final
class Gate(Edit):
    """An edit that mixes y + m · (op(y) - y), with a dial m per sample.

    Args:
        edit: What it does; statistics and proof are shared with it.
        dials: Where its dial is.
        row: Which one that is.
    """

    def __init__(self, edit: Edit, dials: Dials, row: int) -> None:
        super().__init__(
            edit.component,
            edit.operation,
            edit.clock,
            seed=edit.seed,
            place=edit.place,
            strict=edit.strict,
        )
        self.statistics, self._proof = edit.statistics, edit._proof
        self._edit, self._dials, self._row = edit, dials, row

    def for_child(self, component: Component) -> Gate:
        """The same dial at a child of its component."""
        if component.name not in self._children:
            child = Gate(self._edit.for_child(component), self._dials, self._row)
            self._children[component.name] = child
        return self._children[component.name]  # type: ignore[return-value]

    def __call__(self, output: object, inputs: Inputs, index: int) -> object:
        if self._row in self._dials.idle:
            return output
        return super().__call__(output, inputs, index)

    def mixed(self, present: Tensor, new: Tensor) -> Tensor:
        if not (present.is_floating_point() or present.is_complex()):
            raise OperationError(
                f"{self.component} gives {present.dtype}, which has no gradient; leave "
                "it out, or measure it with surgery.rank"
            )
        dial = self._dials.tensors[self._row]
        axis = _sample_axis(present, len(dial))
        if axis is None:
            shape = tuple(present.shape)
            raise OperationError(
                f"{self.component} has the shape {shape} for {len(dial)} "
                "samples: without an axis of samples, it has no gradient for each; "
                "leave it out, or measure it with surgery.rank"
            )
        # Windows of one sample (Swin) have its dial.
        dial = dial.to(present.dtype)
        dial = dial.repeat_interleave(present.shape[axis] // len(dial))
        along = [-1 if i == axis else 1 for i in range(present.ndim)]
        return present + dial.view(along) * (new - present)


def _sample_axis(tensor: Tensor, samples: int) -> int | None:
    """The axis of samples: the first; in attention heads it may be the second.

    A mean over samples is right whichever is taken: all dials are turned alike.
    """
    for axis in range(min(tensor.ndim, 2)):
        if tensor.shape[axis] == samples:
            return axis
    if tensor.ndim and len(tensor) and len(tensor) % samples == 0:
        return 0
    return None


@contextmanager
def gated(
    model: nn.Module, variants: Sequence[Variant], dials: Dials, backend: str
) -> Generator[None]:
    """Have a gate at every component of every row in this block."""
    with ExitStack() as stack:
        for row, variant in enumerate(variants):
            for edit in variant.edits:
                gate = Gate(edit, dials, row)
                placer = get_backend(backend, edit.component)
                stack.callback(placer.attach(model, edit.component, gate))
        yield
