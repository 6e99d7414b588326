"""Build a model of the zoo with transformers, and name its tensors as its file does."""

import re
from collections.abc import Mapping
from typing import Any

from tests.support.architectures import Architecture

__all__ = ["build_model", "make_config", "state_as_published", "state_as_saved"]


def make_config(architecture: Architecture, saved: str, sizes: Mapping[str, Any]) -> Any:
    """The configuration with `sizes` in it, naming the class `saved`."""
    import transformers

    config = getattr(transformers, architecture.config)(**sizes)
    config.architectures = [saved]
    return config


def build_model(class_name: str, config: Any, device: str) -> Any:
    """The model, randomly initialised; on the `meta` device it takes no memory and no time."""
    import torch
    import transformers

    with torch.device(device):
        return getattr(transformers, class_name)(config)


def state_as_saved(model: Any) -> dict[str, Any]:
    """The state dict under the names of the published files, second copies of tied weights included.

    transformers renames some tensors when it loads them (the attention of ViT); `save_pretrained` turns that back with
    the function used here. Older checkpoints were saved from plain state dicts, so nothing else is left out.
    """
    from transformers.core_model_loading import revert_weight_conversion

    return dict(revert_weight_conversion(model, model.state_dict()))


def state_as_published(model: Any, architecture: Architecture) -> dict[str, Any]:
    """The tensors that the published file has of this class, under its names."""
    state = {}
    for name, tensor in state_as_saved(model).items():
        if not re.search(architecture.absent, name):
            for pattern, replacement in architecture.renames.items():
                name = re.sub(pattern, replacement, name)
            state[name] = tensor
    return state
