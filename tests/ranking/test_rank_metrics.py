"""Rankings on metrics of the user's own: segmentation, detection, functions."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torchmetrics
from torch import Tensor, nn
from torchmetrics.detection import MeanAveragePrecision
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

import surgery
from surgery.errors import DataError

Batch = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def segmenter() -> nn.Module:
    """A torchvision segmentation model with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)
        return model.eval()  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def scenes(segmenter: nn.Module) -> list[Batch]:
    """60 images with masks that the untouched model partly gets right."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(60, 3, 32, 32, generator=generator)
    with torch.no_grad():
        masks = segmenter(images)["out"].argmax(1)
    wrong = torch.rand(masks.shape, generator=generator) < 0.2
    masks[wrong] = torch.randint(0, 21, (int(wrong.sum()),), generator=generator)
    return list(zip(images.split(16), masks.split(16), strict=True))


def segment(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    images, masks = batch
    return model(images)["out"], masks


def test_mean_iou_of_a_segmentation_model_equals_the_metric_on_all_data(
    segmenter: nn.Module, scenes: list[Batch]
) -> None:
    metric = torchmetrics.JaccardIndex("multiclass", num_classes=21)
    targets = ["backbone.4", "backbone.12", "classifier.cbr"]
    ranking = surgery.rank(
        segmenter, scenes, targets, metric=metric, step=segment, progress=False
    )
    images, masks = (torch.cat(parts) for parts in zip(*scenes, strict=True))
    for row in ranking:
        truth = torchmetrics.JaccardIndex("multiclass", num_classes=21)
        with surgery.ablate(segmenter, row.component), torch.no_grad():
            value = float(truth(segmenter(images)["out"], masks))
        assert math.isclose(row.value, value, abs_tol=1e-6)
        assert row.low <= row.delta <= row.high
        assert row.n == 60
    assert not metric.update_called, "the user's own metric was touched"


class Detector(nn.Module):
    """Finds the bright square of an image: one box per image, with a score."""

    def __init__(self) -> None:
        super().__init__()
        self.smooth = nn.AvgPool2d(7, stride=1, padding=3)
        self.shift = nn.Identity()

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        found: list[dict[str, Tensor]] = []
        for heat in self.shift(self.smooth(images[:, :1]))[:, 0]:
            place = int(heat.argmax())
            y, x = divmod(place, heat.shape[1])
            box = torch.tensor([[x - 3.0, y - 3.0, x + 4.0, y + 4.0]])
            score = heat.max().clamp(0, 1)[None]
            found.append(
                {"boxes": box, "scores": score, "labels": torch.zeros(1).long()}
            )
        return found


def test_mean_average_precision_of_a_detector_through_step() -> None:
    generator = torch.Generator().manual_seed(0)
    batches: list[Any] = []
    for _ in range(12):
        images = torch.rand(5, 1, 32, 32, generator=generator) * 0.3
        truths: list[dict[str, Tensor]] = []
        for image in images:
            y, x = torch.randint(4, 24, (2,), generator=generator).tolist()
            image[0, y : y + 7, x : x + 7] += 0.6
            box = torch.tensor([[x, y, x + 7, y + 7]]).float()
            truths.append({"boxes": box, "labels": torch.zeros(1).long()})
        batches.append((images, truths))

    def step(model: nn.Module, batch: Any) -> tuple[Any, Any]:
        return model(batch[0]), batch[1]

    ranking = surgery.rank(
        Detector().eval(),
        batches,
        ["smooth", "shift"],
        metric=MeanAveragePrecision(backend="faster_coco_eval"),
        higher_is_better={"map_50": True},
        step=step,
        progress=False,
    )
    assert {row.metric for row in ranking} == {"map_50"}
    by_name = {row.component: row for row in ranking}
    assert by_name["smooth"].baseline > 0.5
    assert by_name["smooth"].verdict == "important"
    assert by_name["smooth"].n == 60


def test_a_function_may_give_several_named_values_per_sample(
    segmenter: nn.Module, scenes: list[Batch]
) -> None:
    def by_region(outputs: Tensor, masks: Tensor) -> dict[str, Tensor]:
        right = (outputs.argmax(1) == masks).float()
        return {
            "top": right[:, :16].mean((1, 2)),
            "bottom": right[:, 16:].mean((1, 2)),
        }

    ranking = surgery.rank(
        segmenter,
        scenes,
        "backbone.12",
        metric=by_region,
        higher_is_better=True,
        step=segment,
        progress=False,
    )
    images, masks = (torch.cat(parts) for parts in zip(*scenes, strict=True))
    with surgery.ablate(segmenter, "backbone.12"), torch.no_grad():
        right = (segmenter(images)["out"].argmax(1) == masks).float()
    values = {row.metric: row.value for row in ranking}
    assert math.isclose(values["top"], float(right[:, :16].mean()), abs_tol=1e-6)
    assert math.isclose(values["bottom"], float(right[:, 16:].mean()), abs_tol=1e-6)


def test_a_function_must_say_which_way_is_good(
    segmenter: nn.Module, scenes: list[Batch]
) -> None:
    def size(outputs: Tensor, masks: Tensor) -> Tensor:
        return outputs.abs().mean((1, 2, 3))

    with pytest.raises(DataError, match="higher_is_better"):
        surgery.rank(
            segmenter, scenes, "backbone.4", metric=size, step=segment, progress=False
        )
