"""Where a network's feed-forward pairs and channels are: what halving its width needs to know.

Weights come as views in `(out, in)`, so that writing into them changes the model. D = residual width, F = inner units.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

__all__ = ["FeedForward", "Projection", "channel_axes", "feed_forwards"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """A linear map: weight (out, in), bias (out,) or None."""

    weight: torch.Tensor
    bias: torch.Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForward:
    """into (F, D) and out of (D, F) the inner units."""

    into: Projection
    out: Projection


_PAIRS = (("fc1", "fc2"), ("wi", "wo"), ("ffn", "ffn_output"), ("c_fc", "c_proj"))


def feed_forwards(model: PreTrainedModel) -> tuple[FeedForward, ...]:
    """Every feed-forward pair of the model; none for a convolutional network."""
    return tuple(pair for module in model.modules() for pair in _feed_forward(module))


def channel_axes(name: str) -> tuple[str | None, str | None]:
    """What channels the rows and the columns of a convolutional network's tensor run over; None for a fixed axis.

    Tensors that share a label share the channels: a choice or a scale for one holds for all.
    """
    return _resnet_axes(name) if name.startswith(("resnet.", "classifier.1.")) else _mobilenet_axes(name)


def _feed_forward(module: nn.Module) -> Iterator[FeedForward]:
    children = dict(module.named_children())
    if {"intermediate", "output", "attention"} <= children.keys():
        into, out = children["intermediate"].dense, children["output"].dense
        yield FeedForward(into=_projection(into), out=_projection(out))
    for names in _PAIRS:
        if children.keys() >= set(names):
            into, out = (children[name] for name in names)
            yield FeedForward(into=_projection(into), out=_projection(out))


def _projection(module: nn.Module) -> Projection:
    weight = module.weight.data
    return Projection(
        weight=weight.T if isinstance(module, Conv1D) else weight,
        bias=None if module.bias is None else module.bias.data,
    )


def _resnet_axes(name: str) -> tuple[str | None, str | None]:
    if name.startswith("resnet.embedder"):
        return "stage 0", None
    if name.startswith("classifier"):
        return None, "stage 2"
    found = re.match(r"resnet\.encoder\.stages\.(\d)\.layers\.(\d)\.(shortcut|layer\.0|layer\.1)\.", name)
    assert found is not None, name
    stage, layer, part = int(found[1]), int(found[2]), found[3]
    before = f"stage {max(stage - 1, 0) if layer == 0 else stage}"
    own, inner = f"stage {stage}", f"inner {stage}.{layer}"
    return {"shortcut": (own, before), "layer.0": (inner, before), "layer.1": (own, inner)}[part]


def _mobilenet_axes(name: str) -> tuple[str | None, str | None]:
    """Only the channels inside an inverted residual are free to go or to scale."""
    found = re.match(r"mobilenet_v2\.layer\.(\d+)\.(expand_1x1|conv_3x3|reduce_1x1)\.", name)
    if found is None:
        return None, None
    inner = f"inner {found[1]}"
    return (None, inner) if found[2] == "reduce_1x1" else (inner, None)
