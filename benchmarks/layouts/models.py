"""The models that are written in all layouts, and the ways to write them down."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file

__all__ = ["CONFIG", "HEADS", "HIDDEN", "WIDTH", "llama", "matrix", "projections", "save", "save_torch", "tensors_of"]

Float32 = npt.NDArray[np.float32]
HIDDEN, WIDTH, HEADS, KEY_HEADS, VOCABULARY, LAYERS = 32, 48, 4, 2, 64, 2
CONFIG: Mapping[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": HIDDEN,
    "intermediate_size": WIDTH,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KEY_HEADS,
    "num_hidden_layers": LAYERS,
    "vocab_size": VOCABULARY,
    "tie_word_embeddings": False,
}


def matrix(generator: np.random.Generator, *shape: int) -> Float32:
    """Values as those of weights, of the spread 0.05."""
    return generator.normal(0, 0.05, shape).astype(np.float32)


def llama(seed: int = 0) -> dict[str, Float32]:
    """A decoder of two layers with grouped heads."""
    generator = np.random.default_rng(seed)
    rows = HIDDEN // HEADS * KEY_HEADS
    shapes = {
        "self_attn.q_proj": (HIDDEN, HIDDEN),
        "self_attn.k_proj": (rows, HIDDEN),
        "self_attn.v_proj": (rows, HIDDEN),
        "self_attn.o_proj": (HIDDEN, HIDDEN),
        "mlp.gate_proj": (WIDTH, HIDDEN),
        "mlp.up_proj": (WIDTH, HIDDEN),
        "mlp.down_proj": (HIDDEN, WIDTH),
        "input_layernorm": (HIDDEN,),
        "post_attention_layernorm": (HIDDEN,),
    }
    return {
        "model.embed_tokens.weight": matrix(generator, VOCABULARY, HIDDEN),
        **{
            f"model.layers.{layer}.{name}.weight": matrix(generator, *shape)
            for layer in range(LAYERS)
            for name, shape in shapes.items()
        },
        "model.norm.weight": matrix(generator, HIDDEN),
        "lm_head.weight": matrix(generator, VOCABULARY, HIDDEN),
    }


def projections(model: Mapping[str, Float32]) -> tuple[str, ...]:
    """The linear layers inside the blocks, without `.weight`."""
    return tuple(name.removesuffix(".weight") for name in model if "_proj" in name)


def tensors_of(model: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The arrays as tensors of torch; what is a tensor stays one."""
    return {
        name: value if isinstance(value, torch.Tensor) else torch.from_numpy(np.array(value, order="C"))
        for name, value in model.items()
    }


def save(
    folder: Path, model: Mapping[str, Any], config: Mapping[str, Any] | None = CONFIG, name: str = "model.safetensors"
) -> None:
    """Write arrays or tensors as safetensors, with `config.json` unless that is None."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).parent.mkdir(exist_ok=True)
    save_file({key: value.contiguous() for key, value in tensors_of(model).items()}, folder / name)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))


def save_torch(
    folder: Path, held: Any, name: str = "pytorch_model.bin", config: Mapping[str, Any] | None = CONFIG
) -> None:
    """Write anything as `torch.save` does."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(held, folder / name)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
