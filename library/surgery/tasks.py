"""What a model is judged on: batches to learn from, and batches that are held out.

A specimen's own task, or a text that is given, cut into windows.
"""

import importlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from dna_zoo.errors import FitDivergedError, JoinError
from library.evaluate.choice import load_tokenizer
from library.models import Loaded, kind_of
from library.surgery.folders import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = [
    "Batch",
    "Objective",
    "Score",
    "Task",
    "estimate_statistics",
    "fine_tune",
    "score",
    "specimen_task",
    "task_of",
    "text_task",
]

Batch = dict[str, Tensor]
"""Keywords of a model's forward, `labels` among them."""
Objective = Literal["masked-lm", "causal-lm", "classification"]
MASKED_SHARE = 0.2
BATCH_SIZE = 32
NUM_WINDOWS = 256
"""Held-out windows of a text, evenly spread."""
MOST_TOKENS = 128
HELD_OUT_SHARE = 0.2
"""Of a text that is given: its end."""
STATISTICS_BATCHES = 20
WARM_UP = 0.1
"""Share of the steps over which the rate rises."""
MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Data with labels."""

    name: str
    objective: Objective
    draw: Callable[[torch.Generator], Batch]
    """A batch to learn from."""
    held_out: tuple[Batch, ...]
    """Never learned from; the same every time."""

    @property
    def example(self) -> Batch:
        """Two inputs without labels, to follow a model on."""
        return {name: tensor[:2] for name, tensor in self.held_out[0].items() if name != "labels"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How good a model is on held-out data."""

    loss: float
    """Mean cross-entropy in nats: of a token, or of an image."""
    accuracy: float | None
    """Share of images with the right label; None for text."""


def task_of(loaded: Loaded, *, texts: Path | None = None) -> Task:
    """The task of a model: the text that is given, else that of a specimen.

    Raises `JoinError` where neither is there, or the model has no head to be judged by.
    """
    if texts is not None:
        return _given_text(loaded, texts)
    facts = read_json(loaded.folder / "specimen.json")
    if not facts:
        raise JoinError(f"Nothing is known to judge {loaded.name!r} by.", hint="Give a text with `--texts FILE`.")
    return specimen_task(loaded, str(facts["training"]["data"]), facts["objective"])


@torch.no_grad()
def score(model: "PreTrainedModel", task: Task) -> Score:
    """The loss (and the accuracy) on the held-out batches, each weighted with the number of its labels."""
    total = count = right = 0.0
    for batch in task.held_out:
        found = model(**batch)
        weight = float((batch["labels"] != -100).sum())
        total, count = total + weight * float(found.loss), count + weight
        if task.objective == "classification":
            right += float((found.logits.argmax(-1) == batch["labels"]).sum())
    accuracy = right / count if task.objective == "classification" else None
    return Score(loss=total / count, accuracy=accuracy)


def fine_tune(model: Any, task: Task, *, steps: int, learning_rate: float, seed: int) -> None:
    """Train a model in place with AdamW, a linear warm-up and a cosine decay; leaves it in evaluation mode.

    The same seed draws the same batches. Raises `FitDivergedError` on a loss that is not finite.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    warm_up = max(1, round(WARM_UP * steps))

    def rate(step: int) -> float:
        return min(1.0, (step + 1) / warm_up) * (0.01 + 0.99 * (1 + math.cos(math.pi * step / max(steps, 1))) / 2)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
    model.train()
    with _seeded(seed):  # For dropout.
        for step in range(steps):
            optimiser.zero_grad()
            loss = model(**task.draw(generator)).loss
            if not torch.isfinite(loss):
                message = f"The loss became {float(loss)} at step {step} of the fine-tune."
                raise FitDivergedError(message, hint="Give fewer steps or a smaller learning rate.")
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
            optimiser.step()
            schedule.step()
    model.eval()


@torch.no_grad()
def estimate_statistics(model: "PreTrainedModel", task: Task, *, seed: int) -> None:
    """Take the running statistics of batch norms again from batches to learn from; others have none.

    The mean of two networks has other activations than both, so the mean of their statistics fits none (Jordan et al.
    2023, "REPAIR: REnormalizing Permuted Activations for Interpolation Repair").
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    generator = torch.Generator().manual_seed(seed)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # The mean over all batches.
        norm.train()
    for _ in range(STATISTICS_BATCHES):
        model(**task.draw(generator))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def text_task(
    name: str, train: Tensor, held_out: Tensor, objective: Objective, *, length: int, mask: int | None
) -> Task:
    """Windows of a text.

    - `train`, `held_out`: int64, one-dimensional, ids of tokens.
    - `length`: tokens of a window.
    - `mask`: the token that hides others, for `masked-lm`.
    """
    last = len(held_out) - length
    starts = torch.tensor(sorted({round(i * last / (NUM_WINDOWS - 1)) for i in range(NUM_WINDOWS)}))
    windows = held_out[starts[:, None] + torch.arange(length)]
    generator = torch.Generator().manual_seed(0)
    batches = tuple(_as_batch(ids, objective, mask, generator) for ids in torch.split(windows, 64))

    def draw(generator: torch.Generator) -> Batch:
        first = torch.randint(len(train) - length + 1, (BATCH_SIZE, 1), generator=generator)
        return _as_batch(train[first + torch.arange(length)], objective, mask, generator)

    return Task(name=name, objective=objective, draw=draw, held_out=batches)


def _as_batch(ids: Tensor, objective: Objective, mask: int | None, generator: torch.Generator) -> Batch:
    if objective == "causal-lm" or mask is None:
        return {"input_ids": ids, "labels": ids}
    hidden = torch.rand(ids.shape, generator=generator) < MASKED_SHARE
    return {"input_ids": ids.masked_fill(hidden, mask), "labels": ids.masked_fill(~hidden, -100)}


def _given_text(loaded: Loaded, texts: Path) -> Task:
    kind = kind_of(loaded.model)
    if kind not in ("masked-lm", "decoder"):
        raise JoinError(
            f"{loaded.name!r} is a {type(loaded.model).__name__}, which predicts no tokens by itself.",
            hint="Give a model with a language-model head; or leave `--texts` out.",
        )
    objective: Objective = "masked-lm" if kind == "masked-lm" else "causal-lm"
    try:
        text = texts.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise JoinError(f"{str(texts)!r} cannot be read as text ({error}).", hint="Give a UTF-8 text file.") from error
    ids, mask = _tokens(loaded, text)
    length = min(_positions(loaded.config), MOST_TOKENS)
    cut = round(len(ids) * (1 - HELD_OUT_SHARE))
    if len(ids) - cut < 2 * length:
        hint = f"Give at least {math.ceil(2 * length / HELD_OUT_SHARE)} tokens."
        raise JoinError(f"{texts.name!r} has {len(ids)} tokens, too few to hold some out.", hint=hint)
    return text_task(texts.name, ids[:cut], ids[cut:], objective, length=length, mask=mask)


def _tokens(loaded: Loaded, text: str) -> tuple[Tensor, int | None]:
    """The text as ids, and the id of the mask: by the model's tokenizer, or characters for a specimen."""
    if (loaded.folder / "specimen.json").is_file():
        characters = _specimen_module("corpora")
        return characters.encode(text), int(characters.MASK)
    tokenizer = load_tokenizer(loaded.folder)
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return torch.tensor(ids, dtype=torch.int64), tokenizer.mask_token_id


def _positions(config: Any) -> int:
    """Tokens that the model can take."""
    for name in ("max_position_embeddings", "n_positions"):
        if isinstance(size := getattr(config, name, None), int):
            # RoBERTa's first two positions are taken.
            return size - 2 if config.model_type == "roberta" else size
    return MOST_TOKENS


def specimen_task(loaded: Loaded, data: str, objective: Objective) -> Task:
    """The task that specimens learned on `data`, which only a checkout of the repository has."""
    if objective == "classification":
        return _digits_task(data, loaded)
    corpora = _specimen_module("corpora")
    corpus = {"python-source": corpora.python_source, "licence-texts": corpora.licence_texts}[data]()
    length = _positions(loaded.config)
    return text_task(data, corpus.train, corpus.held_out, objective, length=length, mask=int(corpora.MASK))


def _digits_task(data: str, loaded: Loaded) -> Task:
    digits = _specimen_module("digits")
    # A network of convolutions takes any side; the specimens' learned at 32.
    images = digits.digits(data, getattr(loaded.config, "image_size", None) or 32)

    def draw(generator: torch.Generator) -> Batch:
        chosen = torch.randint(len(images.train), (BATCH_SIZE,), generator=generator)
        pixels = digits.shifted(images.train[chosen], generator)
        return {"pixel_values": pixels, "labels": images.train_labels[chosen]}

    batches = zip(images.held_out.split(100), images.held_out_labels.split(100), strict=True)
    held_out = tuple({"pixel_values": pixels, "labels": labels} for pixels, labels in batches)
    return Task(name=data, objective="classification", draw=draw, held_out=held_out)


def _specimen_module(name: str) -> Any:
    """A script of `data/specimens`, which only a checkout of the repository has."""
    try:
        return importlib.import_module(f"data.specimens.{name}")
    except ImportError as error:
        raise JoinError(
            "The data of the specimens are in the repository alone, and this is not it.",
            hint="Run the command in a clone of the repository.",
        ) from error
