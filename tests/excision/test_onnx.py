"""Excised models leave torch: ONNX files give the same in onnxruntime."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import surgery
from tests.excision.models import IMAGES, outputs, real_model

pytestmark = pytest.mark.heavy

CASES = {
    "resnet18": ["layer1.0:branch", "layer2.0:skip", "layer3.0.conv1"],
    "convnext_atto": ["stages.0.blocks.0:branch", "stages.1.downsample"],
    "vit_tiny_patch16_224": ["blocks.0:branch#0", "blocks.1.attn:head#0"],
    "mobilenetv3_small_050": ["blocks.1.1:branch", "blocks.0.0.se:gate"],
    "densenet121": ["features.denseblock1:cat#0.arg1", "features.transition1"],
    "swin_tiny_patch4_window7_224": [
        "layers.0.blocks.0:branch#0",
        "layers.1.blocks.1.attn:head#1",
    ],
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")  # of the exporter itself
def test_the_onnx_file_of_an_excised_model_gives_the_same(
    name: str, tmp_path: Path
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    made = surgery.excise(real_model(name), CASES[name], inputs=IMAGES)
    program = torch.onnx.export(made, (IMAGES,), dynamo=True, verbose=False)
    assert program is not None
    file = tmp_path / "model.onnx"
    program.save(str(file))
    session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    given = {session.get_inputs()[0].name: IMAGES.numpy()}
    found = torch.from_numpy(session.run(None, given)[0])
    torch.testing.assert_close(found, outputs(made, IMAGES), rtol=1e-3, atol=1e-4)
