"""Children of another shape: half the width, fewer blocks, another vocabulary, a new head."""

import re
from collections.abc import Mapping

import torch
from transformers import PreTrainedModel

from benchmarks.population.anatomy import FeedForward, channel_axes, feed_forwards
from benchmarks.population.architectures import Architecture, new_model

__all__ = ["halve_depth", "halve_width", "new_vocabulary", "with_labels"]

BLOCKS = re.compile(
    r"((?:encoder\.layer|transformer\.h|vit\.layers|decoder\.layers|(?:en|de)coder\.block|stages\.\d+\.layers)\.)(\d+)\."
)
EXTRA_TOKENS = 24
KEPT_TOKENS = 0.5
"""Of the characters, the share whose embedding moves to the new vocabulary; the rest start anew."""


@torch.no_grad()
def halve_width(model: PreTrainedModel, architecture: Architecture) -> PreTrainedModel:
    """The model with the larger half of the inner units of each feed-forward pair, or of the channels."""
    child = _with_config(model, architecture, architecture.half_width)
    _copy_equal(model, child)
    for ours, theirs in zip(feed_forwards(model), feed_forwards(child), strict=True):
        _copy_largest_units(ours, theirs)
    if not architecture.is_text and not feed_forwards(model):
        _copy_largest_channels(model, child)
    return child


@torch.no_grad()
def halve_depth(model: PreTrainedModel, architecture: Architecture) -> PreTrainedModel:
    """The model with its first block and, where two are kept, its last; all else copied.

    Where one shared layer is run several times it is run fewer times.
    """
    child = _with_config(model, architecture, architecture.half_depth)
    ours, theirs = model.state_dict(), child.state_dict()
    for name, tensor in theirs.items():
        # Block 1 of two kept is block 2 of three.
        tensor.copy_(ours[BLOCKS.sub(lambda found: f"{found[1]}{2 * int(found[2])}.", name)])
    return child


@torch.no_grad()
def new_vocabulary(
    model: PreTrainedModel, architecture: Architecture, generator: torch.Generator
) -> tuple[PreTrainedModel, torch.Tensor]:
    """The model with a larger vocabulary in another order, and the new id of each old one (the last is the mask's).

    A share `KEPT_TOKENS` of the old tokens keep their embedding and bias, all others are random.
    """
    size = model.config.vocab_size
    child = _with_config(model, architecture, {"vocab_size": size + EXTRA_TOKENS})
    _copy_equal(model, child)
    ids = torch.randperm(size + EXTRA_TOKENS, generator=generator)[:size]
    kept = torch.randperm(size, generator=generator)[: int(KEPT_TOKENS * size)]
    ours = dict(model.named_parameters())
    for name, parameter in child.named_parameters():
        if len(parameter) == size + EXTRA_TOKENS:
            if parameter.ndim > 1:
                parameter.copy_(ours[name].std() * torch.randn(parameter.shape, generator=generator))
            parameter[ids[kept]] = ours[name][kept]
    return child, ids


@torch.no_grad()
def with_labels(model: PreTrainedModel, architecture: Architecture, num_labels: int, seed: int) -> PreTrainedModel:
    """The model with a new head for another number of labels."""
    child = _with_config(model, architecture, {"num_labels": num_labels}, seed=seed)
    _copy_equal(model, child)
    return child


def _with_config(
    model: PreTrainedModel, architecture: Architecture, changes: Mapping[str, object], seed: int = 0
) -> PreTrainedModel:
    """A new model with the same configuration but for `changes`."""
    config = type(model.config)(**{**model.config.to_dict(), **_without_derived(changes)})
    return new_model(architecture, seed=seed, config=config)


def _without_derived(changes: Mapping[str, object]) -> dict[str, object]:
    """The names of the labels are kept beside their number, and win over it."""
    if "num_labels" not in changes:
        return dict(changes)
    labels = range(int(str(changes["num_labels"])))
    return {"id2label": {i: f"LABEL_{i}" for i in labels}, "label2id": {f"LABEL_{i}": i for i in labels}}


def _copy_equal(model: PreTrainedModel, child: PreTrainedModel) -> None:
    ours = model.state_dict()
    for name, tensor in child.state_dict().items():
        if tensor.shape == ours[name].shape:
            tensor.copy_(ours[name])


def _copy_largest_units(ours: FeedForward, theirs: FeedForward) -> None:
    size = ours.into.weight.norm(dim=1) * ours.out.weight.norm(dim=0)
    kept = _largest(size, theirs.into.weight.shape[0])
    theirs.into.weight.copy_(ours.into.weight[kept])
    theirs.out.weight.copy_(ours.out.weight[:, kept])
    if ours.into.bias is not None and theirs.into.bias is not None:
        theirs.into.bias.copy_(ours.into.bias[kept])


def _copy_largest_channels(model: PreTrainedModel, child: PreTrainedModel) -> None:
    sizes: dict[str, torch.Tensor] = {}
    for name, parameter in model.named_parameters():
        rows, _ = channel_axes(name)
        if rows is not None and parameter.ndim > 1:
            sizes[rows] = sizes.get(rows, torch.tensor(0.0)) + parameter.flatten(1).square().sum(dim=1)
    ours = model.state_dict()
    for name, tensor in child.state_dict().items():
        source = ours[name]
        for axis, label in enumerate(channel_axes(name)):
            if label is not None and source.ndim > axis:
                source = source.index_select(axis, _largest(sizes[label], tensor.shape[axis]))
        tensor.copy_(source)


def _largest(sizes: torch.Tensor, count: int) -> torch.Tensor:
    """Indices of the `count` largest, in their old order."""
    return sizes.topk(count).indices.sort().values
