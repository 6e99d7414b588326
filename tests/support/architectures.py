"""The fifteen architectures of the zoo, at full size and tiny, as transformers classes and configurations.

The numbers at full size are those of the published configurations. What a published file holds beside the parameters of
its class (masks, positions, scaffolding of the training) is listed here too, since no class declares it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "ARCHITECTURES",
    "TINY_BERT",
    "TINY_DISTILBERT",
    "Architecture",
    "Extra",
    "bert",
    "linear",
    "no_extras",
    "positions",
]

Extra = tuple[str, tuple[int, ...], str]
"""Name, shape and safetensors dtype of a stored tensor that its model class does not declare."""


def no_extras(config: Any) -> list[Extra]:
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """How to build one model of the zoo."""

    config: str
    """Name of the configuration class."""
    base: str
    head: str
    """Class that the count with head stands for; `base` where there is none."""
    saved: str
    """Class that the file was saved from."""
    full: Mapping[str, Any]
    tiny: Mapping[str, Any]
    """What a tiny model of the same make changes in `full`."""
    dtype: str = "F32"
    extras: Callable[[Any], list[Extra]] = no_extras
    """Configuration -> the tensors in the file that the class does not declare."""
    renames: Mapping[str, str] = field(default_factory=dict)
    """Pattern in a name of the class -> what the file has in its place."""
    absent: str = "(?!)"
    """Pattern of the names of the class that the file lacks."""


def positions(name: str) -> Callable[[Any], list[Extra]]:
    return lambda config: [(name, (1, config.max_position_embeddings), "I64")]


def linear(name: str, rows: int, cols: int, dtype: str) -> list[Extra]:
    return [(f"{name}.weight", (rows, cols), dtype), (f"{name}.bias", (rows,), dtype)]


def _norm(name: str, size: int, dtype: str) -> list[Extra]:
    return [(f"{name}.weight", (size,), dtype), (f"{name}.bias", (size,), dtype)]


def _fit_denses(config: Any) -> list[Extra]:
    """Projections of every hidden state of the student onto the teacher's width."""
    teacher = 768 if config.hidden_size == 312 else 2 * config.hidden_size
    numbers = range(config.num_hidden_layers + 1)
    return [extra for i in numbers for extra in linear(f"fit_denses.{i}", teacher, config.hidden_size, "F32")]


def _causal_masks(config: Any) -> list[Extra]:
    size = config.n_positions
    masks: list[Extra] = [(f"transformer.h.{i}.attn.bias", (1, 1, size, size), "F32") for i in range(config.n_layer)]
    return masks + [(f"transformer.h.{i}.attn.masked_bias", (), "F32") for i in range(config.n_layer)]


def _deberta_heads(config: Any) -> list[Extra]:
    """Generator and discriminator heads of the pre-training, beside the masked-lm head of the class."""
    width = config.hidden_size
    return [
        ("deberta.embeddings.position_ids", (1, config.max_position_embeddings), "I64"),
        ("lm_predictions.lm_head.bias", (config.vocab_size,), "F16"),
        *linear("lm_predictions.lm_head.dense", width, width, "F16"),
        *_norm("lm_predictions.lm_head.LayerNorm", width, "F16"),
        *linear("mask_predictions.dense", width, width, "F16"),
        *_norm("mask_predictions.LayerNorm", width, "F16"),
        *linear("mask_predictions.classifier", 1, width, "F16"),
    ]


def bert(vocabulary: int, layers: int, hidden: int, ffn: int) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 12,
        "intermediate_size": ffn,
    }


TINY_BERT = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 20,
}
TINY_DISTILBERT = {
    "vocab_size": 64,
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 64,
    "max_position_embeddings": 20,
}

ARCHITECTURES: Mapping[str, Architecture] = {
    "albert-base": Architecture(
        config="AlbertConfig",
        base="AlbertModel",
        head="AlbertForPreTraining",
        saved="AlbertForPreTraining",
        full={**bert(30000, 12, 768, 3072), "embedding_size": 128},
        tiny={**TINY_BERT, "embedding_size": 16},
        extras=positions("albert.embeddings.position_ids"),
    ),
    "codebert": Architecture(
        config="RobertaConfig",
        base="RobertaModel",
        head="RobertaForMaskedLM",
        saved="RobertaForMaskedLM",
        full={**bert(50265, 12, 768, 3072), "max_position_embeddings": 514, "type_vocab_size": 1},
        tiny=TINY_BERT,
        extras=positions("roberta.embeddings.position_ids"),
    ),
    "deberta-v3-small": Architecture(
        config="DebertaV2Config",
        base="DebertaV2Model",
        head="DebertaV2ForMaskedLM",
        saved="DebertaV2ForMaskedLM",
        full={
            **bert(128100, 6, 768, 3072),
            "type_vocab_size": 0,
            "relative_attention": True,
            "max_relative_positions": -1,
            "position_buckets": 256,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
        },
        tiny={**TINY_BERT, "position_buckets": 8},
        dtype="F16",
        extras=_deberta_heads,
    ),
    "deit-tiny": Architecture(
        config="ViTConfig",
        base="ViTModel",
        head="ViTForImageClassification",
        saved="ViTForImageClassification",
        full={"hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 768, "num_labels": 1000},
        tiny={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "image_size": 16,
            "patch_size": 4,
            "num_labels": 10,
        },
    ),
    "distilbert": Architecture(
        config="DistilBertConfig",
        base="DistilBertModel",
        head="DistilBertForMaskedLM",
        saved="DistilBertForMaskedLM",
        full={"vocab_size": 30522},
        tiny=TINY_DISTILBERT,
    ),
    "distilgpt2": Architecture(
        config="GPT2Config",
        base="GPT2Model",
        head="GPT2LMHeadModel",
        saved="GPT2LMHeadModel",
        full={"n_layer": 6},
        tiny={
            "vocab_size": 64,
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 20,
            "bos_token_id": 0,
            "eos_token_id": 0,
        },
        extras=_causal_masks,
    ),
    "distilmbert": Architecture(
        config="DistilBertConfig",
        base="DistilBertModel",
        head="DistilBertForMaskedLM",
        saved="DistilBertForMaskedLM",
        full={"vocab_size": 119547},
        tiny={**TINY_DISTILBERT, "vocab_size": 96},
    ),
    "electra-small": Architecture(
        config="ElectraConfig",
        base="ElectraModel",
        head="ElectraForPreTraining",
        saved="ElectraForPreTraining",
        full={**bert(30522, 12, 256, 1024), "num_attention_heads": 4, "embedding_size": 128},
        tiny={**TINY_BERT, "embedding_size": 16},
        extras=positions("electra.embeddings.position_ids"),
    ),
    "minilm-l6": Architecture(
        config="BertConfig",
        base="BertModel",
        head="BertModel",
        saved="BertModel",
        full=bert(30522, 6, 384, 1536),
        tiny=TINY_BERT,
        extras=positions("embeddings.position_ids"),
    ),
    "mobilebert": Architecture(
        config="MobileBertConfig",
        base="MobileBertModel",
        head="MobileBertForPreTraining",
        saved="MobileBertForPreTraining",
        # The published configuration has no activation in the pooler, and then no weights there.
        full={"classifier_activation": False},
        tiny={
            "vocab_size": 64,
            "hidden_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "embedding_size": 16,
            "intra_bottleneck_size": 16,
            "num_feedforward_networks": 2,
            "max_position_embeddings": 20,
        },
    ),
    "mobilenet-v2": Architecture(
        config="MobileNetV2Config",
        base="MobileNetV2Model",
        head="MobileNetV2ForImageClassification",
        saved="MobileNetV2ForImageClassification",
        full={"num_labels": 1001},
        tiny={"depth_multiplier": 0.1, "finegrained_output": False, "image_size": 32, "num_labels": 10},
    ),
    "mobilevit-small": Architecture(
        config="MobileViTConfig",
        base="MobileViTModel",
        head="MobileViTForImageClassification",
        saved="MobileViTForImageClassification",
        full={"num_labels": 1000},
        tiny={
            "hidden_sizes": [16, 24, 32],
            "neck_hidden_sizes": [8, 8, 8, 16, 16, 16, 32],
            "image_size": 64,
            "num_labels": 10,
        },
    ),
    "scibert": Architecture(
        config="BertConfig",
        base="BertModel",
        head="BertForPreTraining",
        saved="BertModel",
        full=bert(31090, 12, 768, 3072),
        tiny={**TINY_BERT, "vocab_size": 80},
        extras=positions("embeddings.position_ids"),
    ),
    "tinybert": Architecture(
        config="BertConfig",
        base="BertModel",
        head="BertForPreTraining",
        saved="BertForPreTraining",
        full=bert(30522, 4, 312, 1200),
        tiny=TINY_BERT,
        extras=_fit_denses,
    ),
    "whisper-tiny": Architecture(
        config="WhisperConfig",
        base="WhisperModel",
        head="WhisperForConditionalGeneration",
        saved="WhisperForConditionalGeneration",
        full={"vocab_size": 51865},
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
}
"""Key of the card -> how to build it."""
