"""Batches to learn from, and training: AdamW, warm-up, cosine decay; the same bits for the same seed on one thread."""

import math
from collections.abc import Callable
from functools import cache

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel

from benchmarks.population.architectures import CONTEXT, Architecture
from data.specimens.corpora import MASK, Corpus, licence_texts, python_source, scipy_docstrings
from data.specimens.digits import Images, digits, shifted

__all__ = [
    "Batch",
    "DrawBatch",
    "distil",
    "draw_from",
    "fixed_batch",
    "images_called",
    "mean_loss",
    "share_of_rate",
    "text_called",
    "train",
]

MASKED_SHARE = 0.3
TEMPERATURE = 2.0
WARM_UP_STEPS = 30
MAX_GRADIENT_NORM = 1.0

Batch = dict[str, torch.Tensor]
"""Keywords of the model's forward, labels among them."""
DrawBatch = Callable[[torch.Generator], Batch]


def draw_from(architecture: Architecture, data: str, vocabulary: torch.Tensor | None = None) -> DrawBatch:
    """Batches of the data called `data`, as the architecture's objective wants them.

    - `vocabulary`: int64, id of each character -> its id in another vocabulary.
    """
    if not architecture.is_text:
        images = images_called(data, architecture.image_side)
        return lambda generator: _image_batch(images, architecture.batch_size, generator)
    text, mask = text_called(data).train, MASK
    if vocabulary is not None:
        text, mask = vocabulary[text], int(vocabulary[-1])
    return lambda generator: _text_batch(text, mask, architecture, generator)


def fixed_batch(architecture: Architecture) -> Batch:
    """A batch that is the same for every model of the architecture, to compare functions on."""
    return draw_from(architecture, architecture.data)(torch.Generator().manual_seed(0))


@torch.no_grad()
def mean_loss(model: PreTrainedModel, draw: DrawBatch, *, num_batches: int = 10) -> float:
    """The loss on batches of its own, always the same."""
    generator = torch.Generator().manual_seed(0)
    return sum(float(model(**draw(generator)).loss) for _ in range(num_batches)) / num_batches


def train(
    model: PreTrainedModel, draw: DrawBatch, *, steps: int, learning_rate: float, weight_decay: float, seed: int
) -> float:
    """Train what asks for gradients, in place, and leave the model in evaluation mode; returns the last loss.

    Raises ValueError on a loss that is not finite.
    """
    return _descend(model, lambda batch: model(**batch).loss, draw, steps, learning_rate, weight_decay, seed)


def distil(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    draw: DrawBatch,
    *,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
) -> float:
    """Train `student` on the softened predictions of `teacher` (Hinton et al. 2015), as `train` does."""

    def loss(batch: Batch) -> torch.Tensor:
        with torch.no_grad():
            target = F.log_softmax(teacher(**batch).logits / TEMPERATURE, dim=-1)
        guess = F.log_softmax(student(**batch).logits / TEMPERATURE, dim=-1)
        divergence = F.kl_div(guess.flatten(0, -2), target.flatten(0, -2), log_target=True, reduction="batchmean")
        return divergence * TEMPERATURE**2

    return _descend(student, loss, draw, steps, learning_rate, weight_decay, seed)


def _descend(
    model: PreTrainedModel,
    loss_of: Callable[[Batch], torch.Tensor],
    draw: DrawBatch,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
) -> float:
    generator = torch.Generator().manual_seed(seed)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: share_of_rate(step, steps))
    model.train()
    last = math.nan
    for step in range(steps):
        optimiser.zero_grad()
        loss = loss_of(draw(generator))
        last = loss.item()
        if not math.isfinite(last):
            raise ValueError(f"The loss is {last} at step {step}.")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM, foreach=True)
        optimiser.step()
        schedule.step()
    model.eval()
    return last


def share_of_rate(step: int, steps: int) -> float:
    """Share of the peak learning rate: up over the first steps, down to a hundredth along half a cosine."""
    warm_up = min(1.0, (step + 1) / WARM_UP_STEPS)
    return warm_up * (0.01 + 0.99 * (1 + math.cos(math.pi * step / steps)) / 2)


@cache
def text_called(data: str) -> Corpus:
    """The text with this name, read once."""
    texts = {"python-source": python_source, "licence-texts": licence_texts, "scipy-docstrings": scipy_docstrings}
    return texts[data]()


@cache
def images_called(data: str, side: int) -> Images:
    """The pictures of the task with this name, made once."""
    return digits(data, side)


def _text_batch(text: torch.Tensor, mask: int, architecture: Architecture, generator: torch.Generator) -> Batch:
    starts = torch.randint(len(text) - CONTEXT, (architecture.batch_size, 1), generator=generator)
    ids = text[starts + torch.arange(CONTEXT)]
    if architecture.objective == "causal-lm":
        return {"input_ids": ids, "labels": ids}
    hidden = torch.rand(ids.shape, generator=generator) < MASKED_SHARE
    # An encoder guesses what is hidden; an encoder-decoder writes all of it down again.
    labels = ids if architecture.objective == "denoising" else ids.masked_fill(~hidden, -100)
    return {"input_ids": ids.masked_fill(hidden, mask), "labels": labels}


def _image_batch(images: Images, batch_size: int, generator: torch.Generator) -> Batch:
    chosen = torch.randint(len(images.train), (batch_size,), generator=generator)
    return {"pixel_values": shifted(images.train[chosen], generator), "labels": images.train_labels[chosen]}
