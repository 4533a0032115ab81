"""What a program holds, counted on paper, against what is held while it runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from surgery_backends.fused._leaves import leaves_of
from surgery_backends.fused._memory import peak_bytes
from surgery_backends.fused._tape import Tape
from tests.backends.fused.sweeping import Sweep
from tests.excision.models import real_model


class Watching(TorchDispatchMode):
    """Counts the bytes of storages that are alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive: dict[int, tuple[Any, int]] = {}
        self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {
            x.untyped_storage().data_ptr()
            for x in tree_leaves((args, kwargs))
            if isinstance(x, torch.Tensor)
        }
        for x in tree_leaves(out):
            if isinstance(x, torch.Tensor):
                storage = x.untyped_storage()
                if storage.data_ptr() not in given:
                    kept = StorageWeakRef(storage)
                    self.alive[storage.data_ptr()] = kept, storage.nbytes()
        held = (n for kept, n in self.alive.values() if not kept.expired())
        self.peak = max(self.peak, sum(held))
        return out


@pytest.mark.parametrize("stack", [1, 4, 8])
@pytest.mark.parametrize("name", ["resnet18", "swin_tiny_patch4_window7_224"])
def test_the_count_is_within_a_tenth_of_what_is_held(name: str, stack: int) -> None:
    blocks = "layer*.*" if name == "resnet18" else "layers.*.blocks.*"
    x = torch.randn(16, 3, 32, 32)
    sweep = Sweep(real_model(name), (x,), [f"{blocks}:branch"])
    program = sweep.program(stack)
    leaves = leaves_of(sweep.marked, (x,), {})
    counted = peak_bytes(program.tape, leaves) - x.nbytes
    with Watching() as watching, torch.no_grad():
        sweep.clock.start(sweep.model, (x,), {})
        program.run(leaves, lambda variant, output: None)
    assert watching.peak == pytest.approx(counted, rel=0.1)


def test_a_tape_frees_what_nothing_needs() -> None:
    tape = Tape()
    x = tape.placeholder()
    value = x
    for _ in range(5):
        value = tape.call(torch.neg, (value,), size=400)
    tape.close()
    assert peak_bytes(tape, [torch.zeros(100)]) == 1200  # the input stays
