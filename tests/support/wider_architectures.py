"""The architectures of the wider zoo (tier 5), as `architectures` has those of the fifteen.

Names in a file are those of its class but for what public records say, such as the load reports of transformers: GPT-2
without a prefix and with its causal masks; masks in the global layers of GPT-Neo alone, and in every layer of Pythia;
positions in RoBERTa, FinBERT, CLIP and BLIP; a pooler in DistilRoBERTa; no mask embedding in the fine-tuned wav2vec 2;
weight norm by its older names; BERT's norms from before 2019. A second copy of a tied tensor is listed where the class
declares it; a published safetensors file may leave it out.
"""

from collections.abc import Mapping
from typing import Any

from tests.support.architectures import (
    TINY_BERT,
    TINY_DISTILBERT,
    Architecture,
    Extra,
    bert,
    linear,
    positions,
)

__all__ = ["WIDER_ARCHITECTURES"]

_OLD_NORMS = {r"LayerNorm\.weight$": "LayerNorm.gamma", r"LayerNorm\.bias$": "LayerNorm.beta"}
_WEIGHT_NORM = {
    r"parametrizations\.weight\.original0$": "weight_g",
    r"parametrizations\.weight\.original1$": "weight_v",
}
_ROBERTA = {"max_position_embeddings": 514, "type_vocab_size": 1}
_IMAGENET = {"num_labels": 1000}
_TINY_VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 16,
    "patch_size": 4,
    "num_labels": 10,
}
_TINY_SPEECH = {
    "vocab_size": 16,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "codevector_dim": 16,
    "proj_codevector_dim": 16,
    "num_codevectors_per_group": 8,
}
_TINY_TOWERS = {
    "text_config": {**TINY_BERT, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
    "vision_config": _TINY_VIT,
    "projection_dim": 16,
}


def _gpt2_masks(config: Any) -> list[Extra]:
    size = config.n_positions
    return [(f"h.{i}.attn.bias", (1, 1, size, size), "F32") for i in range(config.n_layer)]


def _neo_masks(config: Any) -> list[Extra]:
    """Of the layers with global attention; the local ones had none when the file was saved."""
    size = config.max_position_embeddings
    layers = [i for i, kind in enumerate(config.attention_layers) if kind == "global"]
    return [(f"transformer.h.{i}.attn.attention.bias", (1, 1, size, size), "U8") for i in layers]


def _pythia_buffers(config: Any) -> list[Extra]:
    size, rotated = config.max_position_embeddings, config.hidden_size // config.num_attention_heads // 8
    buffers: list[Extra] = []
    for i in range(config.num_hidden_layers):
        layer = f"gpt_neox.layers.{i}.attention"
        buffers += [(f"{layer}.bias", (1, 1, size, size), "BOOL"), (f"{layer}.masked_bias", (), "F16")]
        buffers += [(f"{layer}.rotary_emb.inv_freq", (rotated,), "F16")]
    return buffers


def _clip_positions(config: Any) -> list[Extra]:
    vision = config.vision_config
    return [
        ("text_model.embeddings.position_ids", (1, config.text_config.max_position_embeddings), "I64"),
        ("vision_model.embeddings.position_ids", (1, (vision.image_size // vision.patch_size) ** 2 + 1), "I64"),
    ]


def _blip_positions(config: Any) -> list[Extra]:
    size = config.text_config.max_position_embeddings
    return [("text_decoder.bert.embeddings.position_ids", (1, size), "I64")]


def _vit(hidden: int, heads: int) -> Architecture:
    sizes = {"hidden_size": hidden, "num_attention_heads": heads, "intermediate_size": 4 * hidden}
    return Architecture(
        config="ViTConfig",
        base="ViTModel",
        head="ViTForImageClassification",
        saved="ViTForImageClassification",
        full={**sizes, **_IMAGENET},
        tiny=_TINY_VIT,
    )


def _minilm(layers: int, *, has_positions: bool = False) -> Architecture:
    sizes = bert(30522, layers, 384, 1536)
    made = {"config": "BertConfig", "base": "BertModel", "head": "BertModel", "saved": "BertModel"}
    if has_positions:
        return Architecture(**made, full=sizes, tiny=TINY_BERT, extras=positions("embeddings.position_ids"))
    return Architecture(**made, full=sizes, tiny=TINY_BERT)


def _resnet(front: int, **sizes: Any) -> Architecture:
    """With `front` channels before the first stage when tiny: a shortcut has weights where the number changes."""
    return Architecture(
        config="ResNetConfig",
        base="ResNetModel",
        head="ResNetForImageClassification",
        saved="ResNetForImageClassification",
        full={**sizes, **_IMAGENET},
        tiny={"embedding_size": front, "hidden_sizes": [16, 24, 32, 40], "num_labels": 10},
    )


WIDER_ARCHITECTURES: Mapping[str, Architecture] = {
    "bert-base": Architecture(
        config="BertConfig",
        base="BertModel",
        head="BertForPreTraining",
        saved="BertForPreTraining",
        full=bert(30522, 12, 768, 3072),
        tiny=TINY_BERT,
        renames=_OLD_NORMS,
    ),
    "bert-base-multilingual": Architecture(
        config="BertConfig",
        base="BertModel",
        head="BertForPreTraining",
        saved="BertForPreTraining",
        full=bert(119547, 12, 768, 3072),
        tiny={**TINY_BERT, "vocab_size": 96},
    ),
    "blip-captioning": Architecture(
        config="BlipConfig",
        base="BlipForConditionalGeneration",
        head="BlipForConditionalGeneration",
        saved="BlipForConditionalGeneration",
        full={"text_config": {"vocab_size": 30524}, "vision_config": {"image_size": 384}},
        tiny={**_TINY_TOWERS, "text_config": {**TINY_BERT, "encoder_hidden_size": 32}},
        extras=_blip_positions,
    ),
    "clip-vit-b32": Architecture(
        config="CLIPConfig",
        base="CLIPModel",
        head="CLIPModel",
        saved="CLIPModel",
        full={},
        tiny=_TINY_TOWERS,
        extras=_clip_positions,
    ),
    "convnext-tiny": Architecture(
        config="ConvNextConfig",
        base="ConvNextModel",
        head="ConvNextForImageClassification",
        saved="ConvNextForImageClassification",
        full=_IMAGENET,
        tiny={"hidden_sizes": [16, 24, 32, 40], "depths": [1, 1, 2, 1], "image_size": 64, "num_labels": 10},
    ),
    "distilbert-sst2": Architecture(
        config="DistilBertConfig",
        base="DistilBertModel",
        head="DistilBertForSequenceClassification",
        saved="DistilBertForSequenceClassification",
        full={"vocab_size": 30522},
        tiny=TINY_DISTILBERT,
    ),
    "distilroberta": Architecture(
        config="RobertaConfig",
        base="RobertaModel",
        head="RobertaForMaskedLM",
        saved="RobertaForMaskedLM",
        full={**bert(50265, 6, 768, 3072), **_ROBERTA},
        tiny=TINY_BERT,
        extras=lambda config: linear("roberta.pooler.dense", config.hidden_size, config.hidden_size, "F32"),
    ),
    "efficientnet-b0": Architecture(
        config="EfficientNetConfig",
        base="EfficientNetModel",
        head="EfficientNetForImageClassification",
        saved="EfficientNetForImageClassification",
        full={"width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 1280, **_IMAGENET},
        tiny={"width_coefficient": 0.1, "depth_coefficient": 0.2, "hidden_dim": 32, "num_labels": 10},
    ),
    "finbert": Architecture(
        config="BertConfig",
        base="BertModel",
        head="BertForSequenceClassification",
        saved="BertForSequenceClassification",
        full={**bert(30522, 12, 768, 3072), "num_labels": 3},
        tiny=TINY_BERT,
        extras=positions("bert.embeddings.position_ids"),
    ),
    "gpt-neo-125m": Architecture(
        config="GPTNeoConfig",
        base="GPTNeoModel",
        head="GPTNeoForCausalLM",
        saved="GPTNeoForCausalLM",
        full={"hidden_size": 768, "num_layers": 12, "num_heads": 12, "attention_types": [[["global", "local"], 6]]},
        tiny={
            "vocab_size": 64,
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "max_position_embeddings": 20,
            "bos_token_id": 0,
            "eos_token_id": 0,
        },
        extras=_neo_masks,
        absent=r"^lm_head\.",
    ),
    "gpt2": Architecture(
        config="GPT2Config",
        base="GPT2Model",
        head="GPT2LMHeadModel",
        saved="GPT2Model",
        full={},
        tiny={
            "vocab_size": 64,
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 20,
            "bos_token_id": 0,
            "eos_token_id": 0,
        },
        extras=_gpt2_masks,
    ),
    "hubert-base": Architecture(
        config="HubertConfig",
        base="HubertModel",
        head="HubertModel",
        saved="HubertModel",
        full={},
        tiny=_TINY_SPEECH,
        renames=_WEIGHT_NORM,
    ),
    "minilm-l12": _minilm(12),
    "minilm-l12-sentence": _minilm(12, has_positions=True),
    "minilm-l6-base": _minilm(6),
    "pythia-160m": Architecture(
        config="GPTNeoXConfig",
        base="GPTNeoXModel",
        head="GPTNeoXForCausalLM",
        saved="GPTNeoXForCausalLM",
        full={**bert(50304, 12, 768, 3072), "rotary_pct": 0.25},
        tiny={**TINY_BERT, "bos_token_id": 0, "eos_token_id": 0},
        dtype="F16",
        extras=_pythia_buffers,
    ),
    "resnet-18": _resnet(16, hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic"),
    "resnet-50": _resnet(8),
    "roberta-base": Architecture(
        config="RobertaConfig",
        base="RobertaModel",
        head="RobertaForMaskedLM",
        saved="RobertaForMaskedLM",
        full={**bert(50265, 12, 768, 3072), **_ROBERTA},
        tiny=TINY_BERT,
        extras=positions("roberta.embeddings.position_ids"),
    ),
    "t5-small": Architecture(
        config="T5Config",
        base="T5Model",
        head="T5ForConditionalGeneration",
        saved="T5ForConditionalGeneration",
        full={},
        tiny={"vocab_size": 64, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
    ),
    "vit-base": _vit(768, 12),
    "vit-small": _vit(384, 6),
    "vit-tiny": _vit(192, 3),
    "wav2vec2-base": Architecture(
        config="Wav2Vec2Config",
        base="Wav2Vec2Model",
        head="Wav2Vec2ForPreTraining",
        saved="Wav2Vec2ForPreTraining",
        full={},
        tiny=_TINY_SPEECH,
        renames=_WEIGHT_NORM,
    ),
    "wav2vec2-base-960h": Architecture(
        config="Wav2Vec2Config",
        base="Wav2Vec2Model",
        head="Wav2Vec2ForCTC",
        saved="Wav2Vec2ForCTC",
        full={"vocab_size": 32},
        tiny=_TINY_SPEECH,
        renames=_WEIGHT_NORM,
        absent="masked_spec_embed",
    ),
    "whisper-base": Architecture(
        config="WhisperConfig",
        base="WhisperModel",
        head="WhisperForConditionalGeneration",
        saved="WhisperForConditionalGeneration",
        full={
            "vocab_size": 51865,
            "d_model": 512,
            "encoder_layers": 6,
            "decoder_layers": 6,
            "encoder_attention_heads": 8,
            "decoder_attention_heads": 8,
            "encoder_ffn_dim": 2048,
            "decoder_ffn_dim": 2048,
        },
        tiny={
            "vocab_size": 64,
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "num_mel_bins": 8,
            "max_source_positions": 24,
            "max_target_positions": 16,
            "pad_token_id": 0,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "decoder_start_token_id": 1,
        },
    ),
    "xlm-roberta-base": Architecture(
        config="XLMRobertaConfig",
        base="XLMRobertaModel",
        head="XLMRobertaForMaskedLM",
        saved="XLMRobertaForMaskedLM",
        full={**bert(250002, 12, 768, 3072), **_ROBERTA},
        tiny=TINY_BERT,
    ),
}
"""Key of the card -> how to build it."""
