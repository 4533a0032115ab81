"""A trial of smaller weights: on a copy of the block alone, on input drawn at random.

Which rows and columns of the weights belong to a head is read off the make of an
attention, and makes differ. What becomes of zeros at the recorded place is known, so
that the two can be held against each other before the model itself is changed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from surgery.anatomy import main_tensor, mapped, tensors
from surgery.excision._swap import Unfit
from surgery.excision._watch import Watched

_ROOM = 1e-6
"""Of the effect; rounding in float64 is far below it."""


@torch.no_grad()
def require_same(
    block: nn.Module,
    seen: Watched,
    smaller: Callable[[nn.Module], object],
    zeroed: Callable[[nn.Module], object],
    reads: str = "",
) -> None:
    """Try both ways on copies of a block, in float64.

    Args:
        block: Stays as it is.
        seen: What was seen of it in the example run.
        smaller: Takes weights out of a copy.
        zeroed: Lets a copy compute with zeros in their place.
        reads: The module in it whose output is compared, by path.

    Raises:
        Unfit: They give different outputs, or the block cannot be tried.
    """
    if seen.values is None:
        raise Unfit("its block does not run")
    given = _drawn(seen.values)
    before, cut, after = (_copied(block) for _ in range(3))
    zeroed(cut)
    smaller(after)
    try:
        untouched, wanted, found = (_run(m, given, reads) for m in (before, cut, after))
    except Exception as error:  # whatever a module's own code raises
        reason = str(error).partition("\n")[0]
        raise Unfit(f"its block cannot be tried alone ({reason})") from error
    same = len(found) == len(wanted) and all(
        a.shape == b.shape for a, b in zip(found, wanted, strict=True)
    )
    if not (same and _apart(found, wanted) <= _ROOM * _apart(untouched, wanted)):
        raise Unfit("its weights are laid out in another way")


def _copied(block: nn.Module) -> nn.Module:
    return copy.deepcopy(block).double().eval()


def _run(block: nn.Module, given: Any, reads: str) -> list[Tensor]:
    found: list[Tensor] = []

    def note(_: nn.Module, args: Any, output: object) -> None:
        found.extend(x.clone() for x in tensors(output) if x.is_floating_point())

    handle = block.get_submodule(reads).register_forward_hook(note)
    try:
        args, kwargs = mapped(given, torch.clone)
        block(*args, **kwargs)
    finally:
        handle.remove()
    if not found:
        raise Unfit("no tensor comes out of its block")
    return found


def _drawn(values: tuple[tuple[Any, ...], dict[str, Any]]) -> Any:
    """The block's inputs in float64; the main one drawn at random."""
    main = main_tensor(values)
    generator = torch.Generator().manual_seed(0)

    def drawn(x: Tensor) -> Tensor:
        if not x.is_floating_point():
            return x
        if x is not main:
            return x.double()
        fresh = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        return fresh.to(x.device)

    return mapped(values, drawn)


def _apart(a: list[Tensor], b: list[Tensor]) -> float:
    if len(a) != len(b):
        return 0.0
    gaps = [(x - y).abs().max() for x, y in zip(a, b, strict=True) if x.numel()]
    return float(torch.stack(gaps).max()) if gaps else 0.0
