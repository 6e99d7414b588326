"""Tiny networks of each kind, and what to run them on.

Transformers are 2 layers of width 16 to 32; every parameter and every batch statistic has a value of its own, so that
none is where its symmetry could not be seen (norms all one, biases all zero).
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
import transformers

__all__ = ["KINDS", "Kind", "copy_with", "make_model", "outputs"]

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How to build one network."""

    model_class: str
    config: str
    sizes: Mapping[str, Any]


_TOKENS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
_PICTURE = {"image_size": 32, "num_channels": 3}

KINDS: Mapping[str, Kind] = {
    "encoder": Kind(
        model_class="BertForPreTraining",  # With its pooler, whose tanh is odd.
        config="BertConfig",
        sizes={
            "vocab_size": 40,
            "hidden_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "intermediate_size": 40,
            "max_position_embeddings": 12,
        },
    ),
    "narrow-encoder": Kind(
        model_class="MobileBertForPreTraining",  # Norms that only scale and shift, streams of two widths.
        config="MobileBertConfig",
        sizes={
            "vocab_size": 40,
            "hidden_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 40,
            "embedding_size": 8,
            "intra_bottleneck_size": 16,
            "num_feedforward_networks": 2,
            "max_position_embeddings": 12,
            "classifier_activation": False,
        },
    ),
    "decoder": Kind(
        model_class="GPT2LMHeadModel",  # Fused projections, stored (in, out).
        config="GPT2Config",
        sizes={"vocab_size": 40, "n_positions": 12, "n_embd": 24, "n_layer": 2, "n_head": 3, **_TOKENS},
    ),
    "relu-decoder": Kind(
        model_class="OPTForCausalLM",
        config="OPTConfig",
        sizes={
            "vocab_size": 40,
            "hidden_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "ffn_dim": 40,
            "max_position_embeddings": 12,
            "word_embed_proj_dim": 24,
            **_TOKENS,
        },
    ),
    "vit": Kind(
        model_class="ViTForImageClassification",
        config="ViTConfig",
        sizes={
            "hidden_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "intermediate_size": 40,
            "patch_size": 8,
            "num_labels": 5,
            **_PICTURE,
        },
    ),
    "cnn": Kind(
        model_class="ResNetForImageClassification",
        config="ResNetConfig",
        sizes={
            "embedding_size": 8,
            "hidden_sizes": [8, 16],  # One stage takes its input as it is, one through a shortcut with weights.
            "depths": [2, 1],
            "layer_type": "basic",
            "num_labels": 5,
            "num_channels": 3,
        },
    ),
    "mobile-cnn": Kind(
        model_class="MobileNetV2ForImageClassification",
        config="MobileNetV2Config",
        sizes={"depth_multiplier": 0.1, "expand_ratio": 2.0, "finegrained_output": False, "num_labels": 5, **_PICTURE},
    ),
    "encoder-decoder": Kind(
        model_class="T5ForConditionalGeneration",
        config="T5Config",
        sizes={
            "vocab_size": 40,
            "d_model": 24,
            "d_kv": 8,
            "d_ff": 40,
            "num_layers": 2,
            "num_heads": 3,
            "decoder_start_token_id": 0,
            **_TOKENS,
        },
    ),
}


def make_model(kind: str, seed: int = 0) -> transformers.PreTrainedModel:
    """The network of a kind, float32, in evaluation mode; depends on `seed` alone."""
    made = KINDS[kind]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = getattr(transformers, made.model_class)(getattr(transformers, made.config)(**made.sizes)).eval()
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith("running_var"):
                tensor.mul_(0.5 + torch.rand_like(tensor))
            elif tensor.is_floating_point():
                tensor.add_(0.2 * torch.randn_like(tensor))
    return model


def copy_with(model: transformers.PreTrainedModel, state: State) -> transformers.PreTrainedModel:
    """The same network with other weights."""
    copy = deepcopy(model)
    copy.load_state_dict(state)
    return copy


@torch.no_grad()
def outputs(model: transformers.PreTrainedModel, seed: int = 0) -> torch.Tensor:
    """What the heads answer in float64 to random inputs, all in one vector."""
    generator = torch.Generator().manual_seed(seed)
    double = deepcopy(model).double()
    found = double(**_inputs(double, generator))
    names = ("logits", "prediction_logits", "seq_relationship_logits")
    return torch.cat([found[name].flatten() for name in names if name in found])


def _inputs(model: transformers.PreTrainedModel, generator: torch.Generator) -> dict[str, torch.Tensor]:
    if model.main_input_name == "pixel_values":
        return {"pixel_values": torch.randn(3, 3, 32, 32, generator=generator, dtype=torch.float64)}
    names: dict[str, Callable[[], torch.Tensor]] = {
        "input_ids": lambda: torch.randint(1, 40, (3, 10), generator=generator),
        "decoder_input_ids": lambda: torch.randint(1, 40, (3, 7), generator=generator),
    }
    used = ["input_ids", "decoder_input_ids"] if model.config.is_encoder_decoder else ["input_ids"]
    return {name: names[name]() for name in used}
