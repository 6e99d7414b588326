"""The four networks, small enough that a trained checkpoint stays under 400 KB in fp32."""

import torch
import transformers
from transformers import BertConfig, GPT2Config, PreTrainedConfig, PreTrainedModel, ResNetConfig, ViTConfig

from corpora import MASK
from tree import FAMILIES

__all__ = ["CONTEXT", "model_class", "new_model", "shallow_copy"]

CONTEXT = 32
"""Characters a text model sees at once."""
_HIDDEN, _FFN, _HEADS, _LAYERS = 48, 192, 4, 3
_INITIALISER_RANGE = 0.1
"""Near 1 / sqrt(48). With transformers' 0.02, meant for wide models, attention stays blind for a thousand steps."""


def new_model(family: str, *, seed: int) -> PreTrainedModel:
    """A model of the family, initialised as transformers does, in evaluation mode."""
    torch.manual_seed(seed)
    return model_class(family)(_CONFIGS[family]()).eval()


def model_class(family: str) -> type[PreTrainedModel]:
    """The class in transformers that a family's checkpoints are saved from."""
    found: type[PreTrainedModel] = getattr(transformers, FAMILIES[family].model_class)
    return found


def shallow_copy(teacher: PreTrainedModel, layers: tuple[int, ...]) -> PreTrainedModel:
    """A BERT that has only the given `layers` of its teacher, all else copied: a student before its lessons."""
    config = BertConfig(**{**teacher.config.to_dict(), "num_hidden_layers": len(layers)})
    student = type(teacher)(config).eval()
    student.load_state_dict({**teacher.state_dict(), **_renumbered(teacher.state_dict(), layers)}, strict=False)
    return student


def _renumbered(state: dict[str, torch.Tensor], layers: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """The tensors of encoder layer `layers[i]`, under the name of layer i."""
    prefix = "bert.encoder.layer"
    return {
        name.replace(f"{prefix}.{old}.", f"{prefix}.{new}."): tensor
        for new, old in enumerate(layers)
        for name, tensor in state.items()
        if name.startswith(f"{prefix}.{old}.")
    }


def _bert_config() -> PreTrainedConfig:
    return BertConfig(
        vocab_size=MASK + 1,
        hidden_size=_HIDDEN,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_HEADS,
        intermediate_size=_FFN,
        max_position_embeddings=CONTEXT,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=None,
        initializer_range=_INITIALISER_RANGE,
    )


def _gpt2_config() -> PreTrainedConfig:
    return GPT2Config(
        vocab_size=MASK,  # A decoder never sees the mask.
        n_positions=CONTEXT,
        n_embd=_HIDDEN,
        n_layer=_LAYERS,
        n_head=_HEADS,
        n_inner=_FFN,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
        use_cache=False,
        initializer_range=_INITIALISER_RANGE,
    )


def _vit_config() -> PreTrainedConfig:
    return ViTConfig(
        image_size=FAMILIES["vit"].image_side,
        patch_size=4,
        num_channels=1,
        hidden_size=_HIDDEN,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_HEADS,
        intermediate_size=_FFN,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=10,
        initializer_range=_INITIALISER_RANGE,
    )


def _resnet_config() -> PreTrainedConfig:
    return ResNetConfig(
        num_channels=1,
        embedding_size=16,
        hidden_sizes=[16, 32, 64],
        depths=[1, 1, 1],
        layer_type="basic",
        num_labels=10,
    )


_CONFIGS = {"bert": _bert_config, "gpt2": _gpt2_config, "resnet": _resnet_config, "vit": _vit_config}
