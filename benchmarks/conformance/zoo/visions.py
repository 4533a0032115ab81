"""Every model of torchvision that classifies, segments or detects, and some others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from benchmarks.conformance.zoo.specimen import Case, Specimen

CLASSES = 10

# Sizes that are not 32: what the constructor fixes, or below which it does not run.
SIZES: Mapping[str, int] = {
    "alexnet": 64,
    "inception_v3": 75,
    "maxvit_t": 224,
    "vit_b_32": 64,
    "vit_l_32": 64,
    "vit_h_14": 28,
    "swin_t": 64,
    "swin_v2_t": 64,
}
RESIZED = ("vit_",)

# Boxes of any score, so that something comes out of random weights; few of them.
RCNN: Mapping[str, Any] = {
    "min_size": 64,
    "max_size": 64,
    "box_score_thresh": 0.0,
    "box_detections_per_img": 4,
    "rpn_pre_nms_top_n_test": 32,
    "rpn_post_nms_top_n_test": 8,
}
DENSE: Mapping[str, Any] = {
    "min_size": 64,
    "max_size": 64,
    "score_thresh": 0.0,
    "detections_per_img": 4,
    "topk_candidates": 8,
}
SINGLE: Mapping[str, Any] = {
    "score_thresh": 0.0,
    "detections_per_img": 4,
    "topk_candidates": 8,
}


@dataclass(frozen=True)
class Vision:
    """A model of torchvision on tensors of one shape."""

    name: str
    shape: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    inputs: int = 1
    call: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __call__(self) -> Specimen:
        model = built(self.name, **self.options)
        drawn = tuple(torch.randn(2, *self.shape) for _ in range(self.inputs))
        words = "2 x " + " x ".join(map(str, self.shape))
        if self.inputs > 1:
            words = f"{self.inputs} of {words}"
        return Specimen(model, drawn, self.call, words)


@dataclass(frozen=True)
class Detector:
    """A detection model of torchvision on a list of images."""

    name: str
    size: int
    options: Mapping[str, Any]

    def __call__(self) -> Specimen:
        model = built(self.name, weights_backbone=None, **self.options)
        images = [torch.rand(3, self.size, self.size)]
        return Specimen(model, (images,), {}, f"1 x 3 x {self.size} x {self.size}")


def built(name: str, **options: Any) -> nn.Module:
    """A model of torchvision with its own initial weights."""
    from torchvision.models import get_model

    model: nn.Module = get_model(name, weights=None, **options)
    return model


def classifiers() -> Iterator[Case]:
    """Every classification model."""
    import torchvision

    for name in torchvision.models.list_models(module=torchvision.models):
        size = SIZES.get(name, 32)
        options: dict[str, Any] = {"num_classes": CLASSES}
        if name.startswith(RESIZED):
            options["image_size"] = size
        if name in ("googlenet", "inception_v3"):
            options["init_weights"] = False
        vision = Vision(name, (3, size, size), options)
        yield _case(name, "torchvision classification", vision)


def segmenters() -> Iterator[Case]:
    """Every segmentation model."""
    import torchvision

    module = torchvision.models.segmentation
    for name in torchvision.models.list_models(module=module):
        vision = Vision(name, (3, 32, 32), {"weights_backbone": None})
        yield _case(name, "torchvision segmentation", vision)


def detectors() -> Iterator[Case]:
    """Every detection model."""
    import torchvision

    module = torchvision.models.detection
    for name in torchvision.models.list_models(module=module):
        if "rcnn" in name:
            detector = Detector(name, 64, RCNN)
        elif "ssd" in name:
            detector = Detector(name, 64, SINGLE)
        else:
            detector = Detector(name, 64, DENSE)
        yield _case(name, "torchvision detection", detector)


def others() -> Iterator[Case]:
    """A few that take videos, or two images."""
    group = "torchvision video and flow"
    for name in ("r3d_18", "mc3_18", "swin3d_t"):
        yield _case(name, group, Vision(name, (3, 4, 32, 32)))
    flow = Vision("raft_small", (3, 128, 128), inputs=2, call={"num_flow_updates": 2})
    yield _case("raft_small", group, flow)


def _case(name: str, group: str, build: Vision | Detector) -> Case:
    return Case(f"tv.{name}", name, group, build)
