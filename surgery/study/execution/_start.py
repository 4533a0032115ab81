"""Equal starts: what an arm's model has in common with the base's begins the same."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from surgery.study.execution._operate import equal, state_of


@dataclass(frozen=True)
class Start:
    """How an arm's model starts, against the base's.

    Attributes:
        common: Parameters of the same name and shape in both.
        equal: Those of them that were bitwise equal.
        aligned: Those that were not, and were set to the base's values.
    """

    common: int
    equal: int
    aligned: int = 0

    @property
    def differing(self) -> int:
        return self.common - self.equal - self.aligned


def compare(base: nn.Module, model: nn.Module, *, align: bool) -> Start:
    """Compare the parameters and buffers that both have; with `align`, copy the base's.

    Without one input feature the first layer is smaller, so that all that is drawn
    after it comes out otherwise than in the base: a difference of luck, which `align`
    takes out.
    """
    ours, theirs = state_of(model), state_of(base)
    common = [n for n in ours if n in theirs and ours[n].shape == theirs[n].shape]
    differing = [name for name in common if not equal(ours[name], theirs[name])]
    if align:
        with torch.no_grad():
            for name in differing:
                ours[name].copy_(theirs[name])
    aligned = len(differing) if align else 0
    return Start(len(common), len(common) - len(differing), aligned)
