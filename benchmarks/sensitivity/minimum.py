"""The least that curves can cost: each variant from the start of its block on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.sensitivity.ways import Wanted
from surgery.anatomy._watch import flop_counter


class _Begun(BaseException):
    """The forward has come to the block."""


def flops(run: Callable[[], Any]) -> int:
    """Floating-point operations; twice the multiply-adds."""
    with flop_counter() as counter:
        run()
    return int(counter.get_total_flops())


@torch.no_grad()
def least(model: nn.Module, x: Tensor, variants: Sequence[Wanted]) -> int:
    """The untouched model once, and each variant from the start of its block on."""
    whole = flops(lambda: model(x))
    after = {block: whole - _before(model, x, block) for block in blocks(variants)}
    return whole + sum(after[one.block] for one in variants)


def blocks(variants: Sequence[Wanted]) -> list[str]:
    """Each block once."""
    return list(dict.fromkeys(one.block for one in variants))


def _before(model: nn.Module, x: Tensor, block: str) -> int:
    def stop(module: nn.Module, args: object) -> None:
        raise _Begun

    def run() -> None:
        try:
            model(x)
        except _Begun:
            return

    handle = model.get_submodule(block).register_forward_pre_hook(stop)
    try:
        return flops(run)
    finally:
        handle.remove()
