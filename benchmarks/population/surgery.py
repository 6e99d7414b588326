"""Changes of a model without training: pruning, rounding, noise, averaging, shuffling.

Everything works on the model in place, on its parameters (tied ones once), with randomness passed in.
"""

import torch
from torch import nn
from transformers import PreTrainedModel

__all__ = ["average_into", "disturb", "prune", "rescale_before_norms", "round_to", "shuffle"]

MAX_LOG2_SCALE = 2.0
"""A channel is scaled by 2^u, u uniform in plus or minus this."""


@torch.no_grad()
def prune(model: PreTrainedModel, share: float) -> None:
    """Set the smallest `share` of every matrix's and kernel's values to 0."""
    for weight in _matrices(model):
        threshold = weight.abs().flatten().kthvalue(max(1, int(share * weight.numel()))).values
        weight[weight.abs() <= threshold] = 0.0


@torch.no_grad()
def round_to(model: PreTrainedModel, bits: int, *, by_row: bool) -> None:
    """Round every matrix and kernel to the nearest of 2^bits - 1 symmetric levels, one step a tensor or a row."""
    for weight in _matrices(model):
        flat = weight.flatten(1)
        largest = flat.abs().amax(dim=1, keepdim=True) if by_row else flat.abs().max()
        step = (largest / (2 ** (bits - 1) - 1)).clamp_min(torch.finfo(flat.dtype).tiny)
        weight.copy_(((flat / step).round() * step).view_as(weight))


@torch.no_grad()
def disturb(model: PreTrainedModel, share: float, generator: torch.Generator) -> None:
    """Add Gaussian noise of `share` of a tensor's standard deviation to every matrix and kernel."""
    for weight in _matrices(model):
        weight += share * weight.std() * torch.randn(weight.shape, generator=generator)


@torch.no_grad()
def average_into(model: PreTrainedModel, other: PreTrainedModel) -> None:
    """Put the mean of the two in place of `model`'s parameters and running statistics."""
    theirs = other.state_dict()
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_((tensor + theirs[name]) / 2)


@torch.no_grad()
def shuffle(model: PreTrainedModel, generator: torch.Generator) -> None:
    """Permute the values of every parameter within it: every moment stays, every structure goes."""
    for parameter in model.parameters():
        order = torch.randperm(parameter.numel(), generator=generator)
        parameter.copy_(parameter.flatten()[order].view_as(parameter))


@torch.no_grad()
def rescale_before_norms(model: PreTrainedModel, generator: torch.Generator) -> None:
    """Scale every channel of a convolution before a batch norm, whose running statistics take it up.

    The function stays, but for the norm's epsilon, which does not scale with the variance.
    """
    for module in model.modules():
        children = dict(module.named_children())
        if isinstance(norm := children.get("normalization"), nn.BatchNorm2d):
            exponents = 2 * torch.rand(norm.num_features, generator=generator) - 1
            scale = 2.0 ** (MAX_LOG2_SCALE * exponents)
            children["convolution"].weight.mul_(scale[:, None, None, None])
            norm.running_mean.mul_(scale)
            norm.running_var.mul_(scale**2)


def _matrices(model: PreTrainedModel) -> list[torch.Tensor]:
    return [parameter for parameter in model.parameters() if parameter.ndim > 1]
