"""The eight networks, 60 to 110 thousand weights each: four to tune on, four held out.

The tuned four are those of `data/specimens` (the ResNet has two blocks a stage, so that a student can have one).
The held-out four are not looked at while a signature is designed: an encoder-decoder, a decoder with ReLU, a network
of depthwise convolutions, an encoder that shares one layer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import transformers
from transformers import (
    AlbertConfig,
    BertConfig,
    GPT2Config,
    MobileNetV2Config,
    OPTConfig,
    PreTrainedConfig,
    PreTrainedModel,
    ResNetConfig,
    T5Config,
    ViTConfig,
)

from data.specimens.corpora import MASK

__all__ = ["ARCHITECTURES", "CONTEXT", "Architecture", "new_model"]

CONTEXT = 32
"""Characters a text model sees at once."""
HIDDEN, FFN, HEADS, LAYERS = 48, 192, 4, 3
INITIALISER_RANGE = 0.1
"""Near 1 / sqrt(48); 0.02 is meant for wide models."""
BATCH_NORM_MOMENTUM = 0.1
"""transformers gives MobileNetV2 TensorFlow's 0.997, which in torch remembers the last batch alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One network and how its roots are trained."""

    name: str
    split: Literal["tuned", "held-out"]
    objective: Literal["masked-lm", "causal-lm", "denoising", "classification"]
    model_class: str
    """In transformers."""
    config: Callable[[], PreTrainedConfig]
    steps: int
    learning_rate: float
    weight_decay: float = 0.1
    batch_size: int = 16
    image_side: int = 0
    has_relu: bool = False
    """Whether units may be scaled behind the activation."""
    half_width: Mapping[str, object]
    """Changes of the configuration that leave half the units of every feed-forward pair, or half the channels."""
    half_depth: Mapping[str, object]
    """Changes of the configuration that leave fewer blocks; empty where the depth is fixed."""

    @property
    def is_text(self) -> bool:
        return self.image_side == 0

    @property
    def data(self) -> str:
        """What its roots learn."""
        return "python-source" if self.is_text else "digits"

    @property
    def other_data(self) -> str:
        """What its fine-tuned children learn."""
        return "licence-texts" if self.is_text else "digits-rotated"

    @property
    def is_convolutional(self) -> bool:
        return self.name in ("resnet", "mobilenet")


def new_model(architecture: Architecture, *, seed: int, config: PreTrainedConfig | None = None) -> PreTrainedModel:
    """A model with random weights, in evaluation mode; with another configuration than its own if one is given."""
    torch.manual_seed(seed)
    model: PreTrainedModel = getattr(transformers, architecture.model_class)(config or architecture.config())
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = BATCH_NORM_MOMENTUM
    return model.eval()


def _bert() -> PreTrainedConfig:
    return BertConfig(
        vocab_size=MASK + 1,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=FFN,
        max_position_embeddings=CONTEXT,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=None,
        initializer_range=INITIALISER_RANGE,
    )


def _gpt2() -> PreTrainedConfig:
    return GPT2Config(
        vocab_size=MASK,
        n_positions=CONTEXT,
        n_embd=HIDDEN,
        n_layer=LAYERS,
        n_head=HEADS,
        n_inner=FFN,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
        use_cache=False,
        initializer_range=INITIALISER_RANGE,
    )


def _vit() -> PreTrainedConfig:
    return ViTConfig(
        image_size=16,
        patch_size=4,
        num_channels=1,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=FFN,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=10,
        initializer_range=INITIALISER_RANGE,
    )


def _resnet() -> PreTrainedConfig:
    return ResNetConfig(
        num_channels=1,
        embedding_size=12,
        hidden_sizes=[12, 24, 48],
        depths=[2, 2, 2],
        layer_type="basic",
        num_labels=10,
    )


def _t5() -> PreTrainedConfig:
    return T5Config(
        vocab_size=MASK + 1,
        d_model=HIDDEN,
        d_kv=HIDDEN // HEADS,
        num_heads=HEADS,
        d_ff=128,
        num_layers=2,
        num_decoder_layers=2,
        feed_forward_proj="relu",
        dropout_rate=0.0,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=CONTEXT,
        pad_token_id=MASK,
        decoder_start_token_id=MASK,
        eos_token_id=None,
        use_cache=False,
    )


def _opt() -> PreTrainedConfig:
    return OPTConfig(
        vocab_size=MASK,
        hidden_size=HIDDEN,
        word_embed_proj_dim=HIDDEN,
        ffn_dim=FFN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=CONTEXT,
        activation_function="relu",
        dropout=0.0,
        attention_dropout=0.0,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
        use_cache=False,
        init_std=INITIALISER_RANGE,
    )


def _mobilenet() -> PreTrainedConfig:
    return MobileNetV2Config(
        num_channels=1,
        image_size=32,
        depth_multiplier=0.2,
        depth_divisible_by=4,
        expand_ratio=4,
        output_stride=8,
        finegrained_output=False,
        classifier_dropout_prob=0.0,
        num_labels=10,
    )


def _albert() -> PreTrainedConfig:
    return AlbertConfig(
        vocab_size=MASK + 1,
        embedding_size=32,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        intermediate_size=256,
        max_position_embeddings=CONTEXT,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        classifier_dropout_prob=0.0,
        pad_token_id=None,
        initializer_range=INITIALISER_RANGE,
    )


_ALL = (
    Architecture(
        name="bert",
        split="tuned",
        objective="masked-lm",
        model_class="BertForMaskedLM",
        config=_bert,
        steps=600,
        learning_rate=3e-3,
        half_width={"intermediate_size": FFN // 2},
        half_depth={"num_hidden_layers": 2},
    ),
    Architecture(
        name="gpt2",
        split="tuned",
        objective="causal-lm",
        model_class="GPT2LMHeadModel",
        config=_gpt2,
        steps=300,
        learning_rate=4e-3,
        half_width={"n_inner": FFN // 2},
        half_depth={"n_layer": 2},
    ),
    Architecture(
        name="vit",
        split="tuned",
        objective="classification",
        model_class="ViTForImageClassification",
        config=_vit,
        steps=400,
        learning_rate=2e-3,
        weight_decay=0.5,
        image_side=16,
        half_width={"intermediate_size": FFN // 2},
        half_depth={"num_hidden_layers": 2},
    ),
    Architecture(
        name="resnet",
        split="tuned",
        objective="classification",
        model_class="ResNetForImageClassification",
        config=_resnet,
        has_relu=True,
        steps=250,
        learning_rate=4e-3,
        image_side=32,
        half_width={"embedding_size": 6, "hidden_sizes": [6, 12, 24]},
        half_depth={"depths": [1, 1, 1]},
    ),
    Architecture(
        name="t5",
        split="held-out",
        objective="denoising",
        model_class="T5ForConditionalGeneration",
        config=_t5,
        has_relu=True,
        steps=300,
        learning_rate=3e-3,
        half_width={"d_ff": 64},
        half_depth={"num_layers": 1, "num_decoder_layers": 1},
    ),
    Architecture(
        name="opt",
        split="held-out",
        objective="causal-lm",
        model_class="OPTForCausalLM",
        config=_opt,
        has_relu=True,
        steps=300,
        learning_rate=4e-3,
        half_width={"ffn_dim": FFN // 2},
        half_depth={"num_hidden_layers": 2},
    ),
    Architecture(
        name="mobilenet",
        split="held-out",
        objective="classification",
        model_class="MobileNetV2ForImageClassification",
        config=_mobilenet,
        steps=300,
        learning_rate=3e-3,
        image_side=32,
        half_width={"expand_ratio": 2},
        half_depth={},
    ),
    Architecture(
        name="albert",
        split="held-out",
        objective="masked-lm",
        model_class="AlbertForMaskedLM",
        config=_albert,
        steps=400,
        learning_rate=3e-3,
        half_width={"intermediate_size": 128},
        half_depth={"num_hidden_layers": 1},
    ),
)
ARCHITECTURES: Mapping[str, Architecture] = {architecture.name: architecture for architecture in _ALL}
