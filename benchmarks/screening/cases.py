"""What is scored, by which methods, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from surgery.demos._recipes import RESNET, SWIN, Recipe
from surgery.sensitivity import Method

SEEDS = (0, 1, 2, 3, 4)
"""Of the weights a model starts from, and of the order in which it sees its images."""

COMPONENTS = 60
"""So many a case must have, at least."""

LEAST = 0.9
"""Of the best method that scores all components of a case: the median over seeds of
Spearman's correlation of its scores with the exact effects on the loss."""


DRAWN = 40
"""On so many samples, about, `corrected` takes each component out."""

SIGNS = 8
"""So often `hessian` draws signs."""

COSTS: Mapping[Method, str] = {
    "taylor": "1 backward",
    "integrated": "8 backwards",
    "corrected": "1 backward, {points} forwards",
    "fisher": "1 backward",
    "hessian": f"{SIGNS} products with the Hessian",
    "influence": "1 forward",
}
"""Passes over the data; exact effects take one forward per component."""


@dataclass(frozen=True)
class Asked:
    """Which components are scored, and what taking one out means.

    Attributes:
        targets: The components.
        mode: What is done to each, one after the other, for its exact effect.
    """

    targets: tuple[str, ...]
    mode: str = "zero"


@dataclass(frozen=True)
class Case:
    """A kind of model, trained from each seed.

    Attributes:
        recipe: How it is built and trained.
        every: All its components.
        others: What is scored by a method that cannot score all of these; empty where
            nothing fits it.
        why: Why not, by method.
    """

    recipe: Recipe
    every: Asked
    others: Mapping[Method, Asked | None] = field(
        default_factory=dict["Method", "Asked | None"]
    )
    why: Mapping[Method, str] = field(default_factory=dict["Method", str])

    def asked(self, method: Method) -> Asked | None:
        """What a method scores."""
        return self.others.get(method, self.every)


def build_swin() -> nn.Module:
    """timm's Swin, small and deep: 12 blocks, so 24 branches, and 56 heads."""
    from timm.models.swin_transformer import SwinTransformer

    model: nn.Module = SwinTransformer(
        img_size=16,
        patch_size=2,
        window_size=2,
        embed_dim=32,
        depths=(4, 4, 4),
        num_heads=(2, 4, 8),
        in_chans=1,
        num_classes=10,
    )
    return model


def build_resnet() -> nn.Module:
    """timm's ResNet of basic blocks, one in each stage: 13 convolutions."""
    from timm.models.resnet import BasicBlock, ResNet

    block: Any = BasicBlock  # timm asks for one, and means its class
    model: nn.Module = ResNet(
        block, (1, 1, 1, 1), channels=(8, 16, 32, 64), in_chans=1, num_classes=10
    )
    return model


def _named(recipe: Recipe, title: str, build: Callable[[], nn.Module]) -> Recipe:
    return replace(recipe, title=title, build=build)


CASES = (
    Case(
        _named(SWIN, "Swin of 12 blocks, all branches and heads", build_swin),
        Asked(("layers.*.blocks.*:branch", "**.attn:head#*")),
        {
            "hessian": Asked(("**.attn", "**.mlp")),
            "influence": Asked(("layers.*.blocks.*",), "identity"),
        },
        {
            "hessian": "of modules with parameters: heads have none of their own",
            "influence": (
                "of whole blocks, bypassed: what heads get is unlike what they give"
            ),
        },
    ),
    Case(
        _named(RESNET, "ResNet of 4 blocks, all filters", build_resnet),
        Asked(("**[Conv2d]:channel#*",)),
        {"hessian": Asked(("**[Conv2d]",)), "influence": None},
        {
            "hessian": "of whole convolutions: filters have no parameters of their own",
            "influence": "what a filter gets is unlike its output",
        },
    ),
)
