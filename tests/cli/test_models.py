"""MODEL on the command line."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from surgery.cli._images import image_format
from surgery.cli._models import load_model
from surgery.errors import SurgeryError

SWIN = (
    "timm.models.swin_transformer:SwinTransformer?img_size=16&patch_size=4"
    "&window_size=2&embed_dim=8&depths=(2,)&num_heads=(2,)&in_chans=1"
)


def test_a_timm_model_takes_its_options_and_is_in_eval_mode() -> None:
    model: Any = load_model("timm:resnet10t?num_classes=7&in_chans=1")
    assert model.num_classes == 7
    assert not model.training
    assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 7)


def test_a_torchvision_model_is_built_without_any_download() -> None:
    model = load_model("torchvision:squeezenet1_1?num_classes=5")
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 5)


def test_a_class_of_any_importable_module_is_a_factory() -> None:
    assert type(load_model("torch.nn:Linear?in_features=3&out_features=2")) is nn.Linear


def test_a_checkpoint_is_loaded(tmp_path: Path) -> None:
    trained = nn.Linear(3, 2)
    torch.save(trained.state_dict(), tmp_path / "w.pt")
    model: Any = load_model(
        "torch.nn:Linear?in_features=3&out_features=2", checkpoint=tmp_path / "w.pt"
    )
    assert torch.equal(model.weight, trained.weight)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resnet18", "does not name a model; write timm:NAME"),
        ("timm:", "does not name a model"),
        ("timm:resnt18", "timm has no model 'resnt18'; nearest: resnet18"),
        ("timm:resnet18?foo=3", "could not build 'resnet18' with foo=3"),
        (
            "torchvision:resnt18",
            "no model 'resnt18'; nearest: resnet18",
        ),
        ("hf:anything?task=image-clasification", "nearest: imageclassification"),
        ("math:sqrt?x=4", "cannot be called with x=4|gave a float, not a model"),
        ("math:pi", "gave a float, not a model"),
    ],
)
def test_what_names_no_model_is_an_error_that_says_what_would(
    text: str, message: str
) -> None:
    with pytest.raises(SurgeryError, match=message):
        load_model(text)


def test_pretrained_says_nothing_to_a_model_of_ones_own() -> None:
    with pytest.raises(SurgeryError, match="--checkpoint FILE"):
        load_model("torch.nn:Identity", pretrained=True)


def test_a_hugging_face_model_comes_from_a_folder_with_its_weights(
    tmp_path: Path,
) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        image_size=16,
        patch_size=8,
        num_labels=3,
    )
    saved = transformers.ViTForImageClassification(config)
    saved.save_pretrained(tmp_path)
    model: Any = load_model(f"hf:{tmp_path}?task=image-classification")
    assert type(model) is type(saved)
    assert torch.equal(model.classifier.weight, saved.classifier.weight)
    fresh: Any = load_model(f"hf:{tmp_path}?task=image-classification&weights=none")
    assert not torch.equal(fresh.classifier.weight, saved.classifier.weight)
    form = image_format(model)
    assert form is not None and (form.channels, form.size) == (3, (16, 16))


def test_a_hugging_face_name_without_a_network_says_what_to_give() -> None:
    pytest.importorskip("transformers")
    with pytest.raises(SurgeryError, match="give the folder of a saved model, or con"):
        load_model("hf:nobody/no-such-model")


def test_images_follow_the_models_own_configuration() -> None:
    form = image_format(load_model("timm:vit_tiny_patch16_224"))
    assert form is not None
    assert (form.channels, form.size, form.crop) == (3, (224, 224), 0.9)
    assert form.mean == form.std == (0.5, 0.5, 0.5)
    assert form.interpolation == "bicubic"


def test_one_channel_takes_the_average_of_three() -> None:
    form = image_format(load_model("timm:resnet10t?in_chans=1"), 32)
    assert form is not None
    assert (form.channels, form.size) == (1, (32, 32))
    assert form.mean == pytest.approx((0.449,)) and form.std == pytest.approx((0.226,))


def test_a_patch_embedding_tells_the_size_it_was_built_for() -> None:
    form = image_format(load_model(SWIN))
    assert form is not None and (form.channels, form.size) == (1, (16, 16))


def test_a_model_without_an_image_layer_takes_no_images() -> None:
    assert image_format(nn.Linear(2, 2)) is None
