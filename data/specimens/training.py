"""Training of one specimen: AdamW, linear warm-up, cosine decay; deterministic on one thread for a given seed."""

import math
from collections.abc import Callable

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel

from corpora import MASK, Corpus
from digits import Images, shifted
from models import CONTEXT

__all__ = ["MASKED_SHARE", "distillation_loss", "image_loss", "mask_characters", "text_loss", "train"]

MASKED_SHARE = 0.2
_WARM_UP_STEPS = 50
_MAX_GRADIENT_NORM = 1.0
_TEMPERATURE = 2.0

LossFunction = Callable[[torch.Generator], torch.Tensor]
"""Draws a batch and returns the model's loss on it."""


def train(
    model: PreTrainedModel,
    loss_function: LossFunction,
    *,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
) -> None:
    """Train `model` in place and leave it in evaluation mode; raises ValueError on a loss that is not finite."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(_parameter_groups(model, weight_decay), lr=learning_rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps))
    model.train()
    for step in range(steps):
        optimiser.zero_grad()
        loss = loss_function(generator)
        if not torch.isfinite(loss):
            raise ValueError(f"The loss is {float(loss)} at step {step}.")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), _MAX_GRADIENT_NORM)
        optimiser.step()
        schedule.step()
    model.eval()


def text_loss(model: PreTrainedModel, corpus: Corpus, objective: str, batch_size: int) -> LossFunction:
    """Cross-entropy of the masked characters (`masked-lm`) or of each next one (`causal-lm`)."""

    def loss(generator: torch.Generator) -> torch.Tensor:
        ids = _windows(corpus.train, batch_size, generator)
        if objective == "causal-lm":
            return model(input_ids=ids, labels=ids).loss
        masked, labels = mask_characters(ids, generator)
        return model(input_ids=masked, labels=labels).loss

    return loss


def distillation_loss(
    student: PreTrainedModel, teacher: PreTrainedModel, corpus: Corpus, batch_size: int
) -> LossFunction:
    """Kullback-Leibler divergence from the teacher's softened predictions, at every position (Hinton et al. 2015)."""

    def loss(generator: torch.Generator) -> torch.Tensor:
        masked, _ = mask_characters(_windows(corpus.train, batch_size, generator), generator)
        with torch.no_grad():
            target = F.log_softmax(teacher(input_ids=masked).logits.flatten(0, 1) / _TEMPERATURE, dim=-1)
        guess = F.log_softmax(student(input_ids=masked).logits.flatten(0, 1) / _TEMPERATURE, dim=-1)
        return F.kl_div(guess, target, log_target=True, reduction="batchmean") * _TEMPERATURE**2

    return loss


def image_loss(model: PreTrainedModel, images: Images, batch_size: int) -> LossFunction:
    """Cross-entropy of the labels of slightly shifted pictures."""

    def loss(generator: torch.Generator) -> torch.Tensor:
        chosen = torch.randint(len(images.train), (batch_size,), generator=generator)
        pixels = shifted(images.train[chosen], generator)
        return model(pixel_values=pixels, labels=images.train_labels[chosen]).loss

    return loss


def mask_characters(ids: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """`ids` with a share `MASKED_SHARE` of them masked, and labels that are -100 (ignored) everywhere else."""
    hidden = torch.rand(ids.shape, generator=generator) < MASKED_SHARE
    return ids.masked_fill(hidden, MASK), ids.masked_fill(~hidden, -100)


def _windows(text: torch.Tensor, batch_size: int, generator: torch.Generator) -> torch.Tensor:
    """Random stretches of the text, (batch_size, CONTEXT)."""
    starts = torch.randint(len(text) - CONTEXT, (batch_size, 1), generator=generator)
    return text[starts + torch.arange(CONTEXT)]


def _parameter_groups(model: PreTrainedModel, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay for matrices and kernels, none for biases and norms."""
    return [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _rate(step: int, steps: int) -> float:
    """Share of the peak learning rate: up over the first steps, down to a hundredth along half a cosine."""
    warm_up = min(1.0, (step + 1) / _WARM_UP_STEPS)
    return warm_up * (0.01 + 0.99 * (1 + math.cos(math.pi * step / steps)) / 2)
