"""LoRA (Hu et al. 2021): train a low-rank update of every inner matrix, all else frozen, and merge it in."""

import torch
from torch import nn
from torch.nn.utils import parametrize
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from benchmarks.population.lessons import DrawBatch, train

__all__ = ["train_adapter"]

RANK = 4
HEADS = ("cls", "lm_head", "classifier", "predictions")


class _LowRankUpdate(nn.Module):
    """weight -> weight + b a, `b` zero at first: (out, RANK) and (RANK, in times kernel)."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        flat = weight.flatten(1)
        self.a = nn.Parameter(torch.randn(RANK, flat.shape[1]) * flat.shape[1] ** -0.5)
        self.b = nn.Parameter(torch.zeros(flat.shape[0], RANK))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + (self.b @ self.a).view_as(weight)


def train_adapter(
    model: PreTrainedModel, draw: DrawBatch, *, steps: int, learning_rate: float, weight_decay: float, seed: int
) -> None:
    """Train the updates on the batches and leave them merged into the weights; embeddings and heads stay."""
    torch.manual_seed(seed)
    model.requires_grad_(False)
    modules = [module for name, module in model.named_modules() if _is_adapted(name, module)]
    for module in modules:
        parametrize.register_parametrization(module, "weight", _LowRankUpdate(module.weight))
        module.parametrizations.weight.original.requires_grad_(False)
    train(model, draw, steps=steps, learning_rate=learning_rate, weight_decay=weight_decay, seed=seed)
    for module in modules:
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    model.requires_grad_(True)


def _is_adapted(name: str, module: nn.Module) -> bool:
    """A map or convolution that is wide enough for the rank to be low."""
    if name.startswith(HEADS) or not isinstance(module, (nn.Linear, nn.Conv2d, Conv1D)):
        return False
    return min(module.weight.flatten(1).shape) > 2 * RANK
