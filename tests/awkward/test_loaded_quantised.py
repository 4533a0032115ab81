"""Models that transformers loads in 8 and 4 bits: cut by a forward edited by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import surgery
from surgery.errors import OperationError

transformers: Any = pytest.importorskip("transformers")
pytest.importorskip("bitsandbytes")

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*inputs will be cast:UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
LAYER = "model.layers.1"


def config_of(bits: int) -> Any:
    if bits == 8:
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32
    )


@pytest.fixture(params=[8, 4])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    config = transformers.LlamaConfig(
        vocab_size=99,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=None,
        eos_token_id=None,
    )
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path)
    load = transformers.LlamaForCausalLM.from_pretrained
    quantised = config_of(request.param)
    loaded = load(tmp_path, quantization_config=quantised, device_map="cpu")
    return loaded.eval()


def run(model: Any) -> torch.Tensor:
    ids = torch.arange(10, 24).reshape(2, 7)
    with torch.no_grad():
        out: torch.Tensor = model(ids).logits
    return out


@pytest.mark.parametrize("part", ["mlp", "branch#0", "branch#1", "skip#0"])
def test_a_cut_equals_the_forward_edited_by_hand(
    model: Any, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(model)
    target = f"{LAYER}.mlp" if part == "mlp" else f"{LAYER}:{part}"
    with surgery.ablate(model, target) as op:
        got = run(model)
        op.effect(strict=True)
    layer = model.model.layers[1]

    def by_hand(hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        x = hidden_states
        mixed, _ = layer.self_attn(layer.input_layernorm(x), **kwargs)
        mixed = mixed * (part != "branch#0")
        x = x * (part != "skip#0") + mixed
        y = layer.mlp(layer.post_attention_layernorm(x))
        out: torch.Tensor = x + y * (part not in ("mlp", "branch#1"))
        return out

    with monkeypatch.context() as patch:
        patch.setattr(layer, "forward", by_hand)
        torch.testing.assert_close(got, run(model))
    assert not torch.allclose(got, before)
    assert torch.equal(run(model), before)


@pytest.mark.parametrize("mode", ["reinit", surgery.ops.Noise(on="parameters")])
def test_packed_weights_are_refused_by_name(model: Any, mode: Any) -> None:
    with pytest.raises(OperationError, match=r"model\.layers\.1\.mlp.*quantised"):
        surgery.ablate(model, f"{LAYER}.mlp", mode)
    with pytest.raises(OperationError, match=r"up_proj\.weight, which is quantised"):
        surgery.ablate(model, f"{LAYER}.mlp.up_proj.weight")
