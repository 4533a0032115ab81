"""Subjects: models with their inputs, the same by hand, and the parts to try."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from surgery._random import seeded
from surgery.testing import _by_hand, _models
from surgery.testing._by_hand import At


@dataclass(frozen=True)
class Subject:
    """One model, written twice, and what of it is tried.

    Attributes:
        make: Builds the model.
        shapes: Of its inputs by name, for two samples.
        by_hand: `(model, at, **inputs)`, the same forward with places.
        targets: The parts to try.
        partner: A part elsewhere, to operate on at the same time.
        without: Modes that mean something else at a target (`resample` of what has
            no samples).
    """

    make: Callable[[], nn.Module]
    shapes: Mapping[str, tuple[int, ...]]
    by_hand: Callable[..., object]
    targets: tuple[str, ...]
    partner: str
    without: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict[str, tuple[str, ...]]
    )

    def model(self) -> nn.Module:
        """The model in double precision, no parameter of it zero."""
        with seeded(1):
            model = self.make().double().eval()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(0.1 * torch.randn(parameter.shape))
                for name, buffer in model.named_buffers():
                    if name.endswith(("_mean", "_var")):
                        buffer.uniform_(0.5, 1.5)
        return model

    def inputs(self, seed: int) -> dict[str, Tensor]:
        """A batch of two samples."""
        generator = torch.Generator().manual_seed(seed)
        return {
            name: torch.randn(shape, generator=generator, dtype=torch.float64)
            for name, shape in self.shapes.items()
        }

    def run_by_hand(
        self, model: nn.Module, at: At, inputs: dict[str, Tensor]
    ) -> object:
        """The truth."""
        return self.by_hand(model, at, **inputs)


SUBJECTS = (
    Subject(
        _models.Residuals,
        {"x": (2, 6)},
        _by_hand.residuals,
        (
            "stem",
            "a",
            "a.fc1",
            "a.act",
            "a.act@1",
            "a:skip",
            "a:branch",
            "b:skip",
            "b:branch#0",
            "a:relu#0",
            "b.fc2",
            "a.fc1:channel#1-2",
            "input",
            "input:feature#1",
        ),
        partner="b.short",
    ),
    Subject(
        _models.Tokens,
        {"x": (2, 5, 8)},
        _by_hand.tokens,
        (
            "blocks.0",
            "blocks.1.attn",
            "blocks.0:skip#0",
            "blocks.0:branch#1",
            "blocks.1:skip",
            "blocks.1:branch",
            "blocks.0:gate",
            "blocks.0.attn:head#1",
            "blocks.1.attn:head#2",
            "blocks.1.attn:softmax#0",
            "tail",
            "tail:skip",
            "tail:branch",
            "input:token#1",
        ),
        partner="blocks.0.mlp",
        without={"blocks.0:gate": ("mean", "resample")},
    ),
    Subject(
        _models.Joins,
        {"x": (2, 4)},
        _by_hand.joins,
        (
            "join",
            "join:add#0.arg0",
            "join:add#0.arg1",
            "join:add#0",
            "join:stack#0.arg0",
            "join:cat#0.arg1",
            "join:cat#1.arg2",
            "join:gate",
            "join:mul#1.arg0",
            "join:tanh#0",
            ":add#0.arg1",
        ),
        partner="join.left",
    ),
    Subject(
        _models.Structured,
        {"pixels": (2, 2, 4, 4), "shift": (2, 4)},
        _by_hand.structured,
        (
            "pair",
            "conv",
            "conv:channel#0-1",
            "input:pixels",
            "input:channel#1",
            "input:shift",
        ),
        partner="pair.fc",
    ),
)
