"""Architectures of Hugging Face's transformers, from tiny configurations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.conformance.zoo.specimen import Case
from benchmarks.conformance.zoo.transformer import (
    Config,
    Transformer,
    both,
    image,
    image_and_text,
    large_image,
    padded,
    speech,
    text,
)

TINY: Mapping[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 16,
}
DECODER: Mapping[str, Any] = {
    **TINY,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
    "use_cache": False,
}
IMAGE: Mapping[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
SEQ2SEQ: Mapping[str, Any] = {
    "vocab_size": 99,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "use_cache": False,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}

_GROUPED = {**DECODER, "num_key_value_heads": 2}
_CLIP = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
_STAGES = {"depths": [1, 1], "hidden_sizes": [16, 32]}

ARCHITECTURES: Mapping[str, Transformer] = {
    "gpt2": Transformer(
        "GPT2LMHeadModel",
        "GPT2Config",
        {
            "vocab_size": 99,
            "n_positions": 16,
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "bos_token_id": None,
            "eos_token_id": None,
            "use_cache": False,
        },
        text,
    ),
    "llama": Transformer("LlamaForCausalLM", "LlamaConfig", _GROUPED, text),
    "mistral": Transformer("MistralForCausalLM", "MistralConfig", _GROUPED, text),
    "mixtral": Transformer(
        "MixtralForCausalLM",
        "MixtralConfig",
        {**_GROUPED, "num_local_experts": 3},
        text,
    ),
    "qwen2": Transformer("Qwen2ForCausalLM", "Qwen2Config", _GROUPED, padded),
    "gemma": Transformer(
        "GemmaForCausalLM", "GemmaConfig", {**_GROUPED, "head_dim": 8}, text
    ),
    "opt": Transformer(
        "OPTForCausalLM",
        "OPTConfig",
        {**DECODER, "ffn_dim": 48, "word_embed_proj_dim": 32, "pad_token_id": 1},
        padded,
    ),
    "gpt_neox": Transformer("GPTNeoXForCausalLM", "GPTNeoXConfig", DECODER, text),
    "mamba": Transformer(
        "MambaForCausalLM",
        "MambaConfig",
        {
            "vocab_size": 99,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "state_size": 4,
            "use_cache": False,
        },
        text,
    ),
    "bert": Transformer(
        "BertForSequenceClassification", "BertConfig", {**TINY}, padded
    ),
    "albert": Transformer(
        "AlbertForSequenceClassification",
        "AlbertConfig",
        {**TINY, "embedding_size": 16},
        padded,
    ),
    "roberta": Transformer(
        "RobertaForSequenceClassification",
        "RobertaConfig",
        {**TINY, "pad_token_id": 1},
        padded,
    ),
    "electra": Transformer(
        "ElectraForSequenceClassification",
        "ElectraConfig",
        {**TINY, "embedding_size": 16},
        padded,
    ),
    "distilbert": Transformer(
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        {
            "vocab_size": 99,
            "dim": 32,
            "n_layers": 2,
            "n_heads": 4,
            "hidden_dim": 48,
            "max_position_embeddings": 16,
        },
        padded,
    ),
    "t5": Transformer(
        "T5ForConditionalGeneration",
        "T5Config",
        {
            "vocab_size": 99,
            "d_model": 32,
            "d_kv": 8,
            "d_ff": 48,
            "num_layers": 2,
            "num_heads": 4,
            "use_cache": False,
        },
        both,
    ),
    "bart": Transformer(
        "BartForConditionalGeneration",
        "BartConfig",
        {**SEQ2SEQ, "max_position_embeddings": 16},
        both,
    ),
    "whisper": Transformer(
        "WhisperForConditionalGeneration",
        "WhisperConfig",
        {
            **SEQ2SEQ,
            "num_mel_bins": 8,
            "max_source_positions": 16,
            "max_target_positions": 16,
        },
        speech,
    ),
    "vit": Transformer("ViTForImageClassification", "ViTConfig", IMAGE, image),
    "beit": Transformer("BeitForImageClassification", "BeitConfig", IMAGE, image),
    "dinov2": Transformer("Dinov2ForImageClassification", "Dinov2Config", IMAGE, image),
    "swin": Transformer(
        "SwinForImageClassification",
        "SwinConfig",
        {
            "image_size": 32,
            "patch_size": 2,
            "embed_dim": 16,
            "depths": [2, 2],
            "num_heads": [2, 4],
            "window_size": 4,
        },
        image,
    ),
    "convnext": Transformer(
        "ConvNextForImageClassification",
        "ConvNextConfig",
        {"depths": [2, 2], "hidden_sizes": [16, 32], "num_stages": 2},
        image,
    ),
    "resnet": Transformer(
        "ResNetForImageClassification",
        "ResNetConfig",
        {**_STAGES, "embedding_size": 16},
        image,
    ),
    "segformer": Transformer(
        "SegformerForSemanticSegmentation",
        "SegformerConfig",
        {
            "num_encoder_blocks": 2,
            "depths": [1, 2],
            "sr_ratios": [4, 1],
            "hidden_sizes": [16, 32],
            "patch_sizes": [7, 3],
            "strides": [4, 2],
            "num_attention_heads": [2, 4],
            "mlp_ratios": [2, 2],
            "decoder_hidden_size": 16,
        },
        image,
    ),
    "detr": Transformer(
        "DetrForObjectDetection",
        "DetrConfig",
        {
            **SEQ2SEQ,
            "num_queries": 5,
            "use_timm_backbone": False,
            "backbone": None,
            "use_pretrained_backbone": False,
            "backbone_config": Config(
                "ResNetConfig",
                {**_STAGES, "embedding_size": 16, "out_features": ["stage2"]},
            ),
        },
        large_image,
    ),
    "clip": Transformer(
        "CLIPModel",
        "CLIPConfig",
        {
            "projection_dim": 16,
            "text_config": {
                **_CLIP,
                "vocab_size": 99,
                "intermediate_size": 48,
                "max_position_embeddings": 16,
            },
            "vision_config": {**_CLIP, **IMAGE},
        },
        image_and_text,
    ),
}
"""What is built, by name."""


def architectures() -> Iterator[Case]:
    """Every architecture of the list."""
    for name, transformer in ARCHITECTURES.items():
        yield Case(f"hf.{name}", name, "Hugging Face", transformer)
