"""What is trained: a small model of each kind, on few or many examples, and the larger models that patterns come from.

The larger models learn other data (rotated digits, licence texts) than the small ones (digits, Python's source), and
are wider and deeper. None of them sees the test.

`bert, other text` is the confirmation of what `bert` with the sources of the population showed, which was found after
trials on the same text and test. It is on a text that no trial used, with everything else as it was: its small model,
budgets and starts are those of `bert`, its four larger models learn the text of the small ones by the rule of
`benchmarks.population`. All of this was fixed before its first full run, and nothing was chosen on it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from platform import python_version

import torch
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel

from benchmarks.initialise.networks import NETWORKS
from benchmarks.population.architectures import CONTEXT, new_model
from benchmarks.population.lessons import images_called, text_called
from data.specimens.corpora import MASK, unigram_loss
from data.specimens.digits import shifted

__all__ = [
    "CONFIRMATION",
    "FOUND",
    "PROBLEMS",
    "Problem",
    "Score",
    "about_text",
    "draw_batch",
    "new_source",
    "new_target",
    "score",
]

FOUND, CONFIRMATION = "bert", "bert, other text"
"""The kind of model that a pattern was seen to help, and the same on a text that no trial used."""

MASKED_SHARE = 0.2
NUM_WINDOWS = 256
Batch = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One kind of model, its target, and how its sources are trained."""

    name: str
    architecture: str
    """In `NETWORKS`; the sources have its sizes."""
    changes: Mapping[str, object]
    """Of the configuration, for the target."""
    sizes: tuple[int, ...]
    """Of the training set: pictures, or characters of text."""
    steps: int
    learning_rate: float
    weight_decay: float
    source_steps: int
    source_range: float | None = None
    """Standard deviation of a source's weights before its training, where it is not the target's."""
    batch_size: int = 32
    num_sources: int = 5
    first_seed: int = 0
    """Of the trainings; 100 to 199 are for trying things out."""
    text: str = "python-source"
    """What the target learns where it is a model of text."""
    source_text: str = "licence-texts"
    has_population_sources: bool = False
    """Whether the sources are trained as the roots of `benchmarks.population` are, and not as the target is."""

    @property
    def is_text(self) -> bool:
        return NETWORKS[self.architecture].is_text

    def shortened(self, steps: int | None) -> "Problem":
        """With trainings of so many steps at most."""
        if steps is None:
            return self
        return replace(self, steps=min(steps, self.steps), source_steps=min(steps, self.source_steps))


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """On the test."""

    loss: float
    accuracy: float


PROBLEMS: Mapping[str, Problem] = {
    problem.name: problem
    for problem in (
        Problem(
            name="vit",
            architecture="vit",
            changes={"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2},
            sizes=(100, 300, 1397),
            steps=400,
            learning_rate=2e-3,
            weight_decay=0.1,
            source_steps=1500,
        ),
        Problem(
            name="cnn",
            architecture="resnet",
            changes={"embedding_size": 8, "hidden_sizes": [8, 16, 32], "depths": [1, 1, 1]},
            sizes=(100, 300, 1397),
            steps=200,
            learning_rate=4e-3,
            weight_decay=0.1,
            source_steps=400,
        ),
        Problem(
            name="convnext",
            architecture="convnext",
            changes={"hidden_sizes": [20], "depths": [2]},
            sizes=(100, 300, 1397),
            steps=100,
            learning_rate=4e-3,
            weight_decay=0.1,
            source_steps=250,
            # Of kernels that start at 0.1 most is their random start, however long they are trained here.
            source_range=0.02,
        ),
        Problem(
            name=FOUND,
            architecture="bert",
            changes={"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2},
            sizes=(30_000, 500_000),
            steps=300,
            learning_rate=3e-3,
            weight_decay=0.1,
            source_steps=600,
        ),
        Problem(
            name=CONFIRMATION,
            architecture="bert",
            changes={"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2},
            sizes=(500_000,),
            steps=300,
            learning_rate=3e-3,
            weight_decay=0.1,
            source_steps=600,
            num_sources=4,
            first_seed=200,
            text="scipy-docstrings",
            source_text="scipy-docstrings",
            has_population_sources=True,
        ),
        Problem(
            name="gpt2",
            architecture="gpt2",
            changes={"n_embd": 32, "n_inner": 128, "n_layer": 2},
            sizes=(30_000, 500_000),
            steps=400,
            learning_rate=4e-3,
            weight_decay=0.1,
            source_steps=1000,
        ),
    )
}


def new_source(problem: Problem, *, seed: int) -> PreTrainedModel:
    """One of the larger models before its training."""
    return _new(problem, {}, problem.source_range, seed)


def new_target(problem: Problem, *, seed: int, initialiser_range: float | None = None) -> PreTrainedModel:
    """The small model with random weights."""
    return _new(problem, problem.changes, initialiser_range, seed)


def _new(
    problem: Problem, changes: Mapping[str, object], initialiser_range: float | None, seed: int
) -> PreTrainedModel:
    architecture = NETWORKS[problem.architecture]
    config: PreTrainedConfig = architecture.config()
    config.update(dict(changes))
    if initialiser_range is not None:
        config.update({"initializer_range": initialiser_range})
    return new_model(architecture, seed=seed, config=config)


def draw_batch(problem: Problem, *, is_source: bool, size: int | None, seed: int) -> Callable[[torch.Generator], Batch]:
    """Batches of the first `size` examples (all for None) of an order that depends on the seed."""
    if problem.is_text:
        text = text_called(problem.source_text if is_source else problem.text).train
        length = min(size or len(text), len(text) - 1)
        start = int(torch.randint(len(text) - length, (1,), generator=torch.Generator().manual_seed(seed)))
        part = text[start : start + length]
        return lambda generator: _text_batch(part, problem, generator)
    images = images_called("digits-rotated" if is_source else "digits", NETWORKS[problem.architecture].image_side)
    order = torch.randperm(len(images.train), generator=torch.Generator().manual_seed(seed))[:size]
    pixels, labels = images.train[order], images.train_labels[order]

    def draw(generator: torch.Generator) -> Batch:
        chosen = torch.randint(len(pixels), (problem.batch_size,), generator=generator)
        return {"pixel_values": shifted(pixels[chosen], generator), "labels": labels[chosen]}

    return draw


@torch.no_grad()
def score(problem: Problem, model: PreTrainedModel) -> Score:
    """On what no model was trained on; the same every time."""
    was_training = model.training
    model.eval()
    if problem.is_text:
        ids, labels = _test_text(problem.text, problem.architecture)
        logits = model(input_ids=ids).logits
        if problem.architecture == "gpt2":
            logits, labels = logits[:, :-1], labels[:, 1:]
    else:
        images = images_called("digits", NETWORKS[problem.architecture].image_side)
        logits, labels = model(pixel_values=images.held_out).logits, images.held_out_labels
    logits, labels = logits.flatten(0, -2), labels.flatten()
    is_asked = labels != -100
    found = Score(
        loss=float(F.cross_entropy(logits[is_asked], labels[is_asked])),
        accuracy=float((logits[is_asked].argmax(-1) == labels[is_asked]).double().mean()),
    )
    model.train(was_training)
    return found


def _text_batch(text: torch.Tensor, problem: Problem, generator: torch.Generator) -> Batch:
    starts = torch.randint(len(text) - CONTEXT, (problem.batch_size, 1), generator=generator)
    ids = text[starts + torch.arange(CONTEXT)]
    if problem.architecture == "gpt2":
        return {"input_ids": ids, "labels": ids}
    masked, labels = _masked(ids, generator)
    return {"input_ids": masked, "labels": labels}


def _masked(ids: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    hidden = torch.rand(ids.shape, generator=generator) < MASKED_SHARE
    return ids.masked_fill(hidden, MASK), ids.masked_fill(~hidden, -100)


def about_text(name: str) -> dict[str, object]:
    """Where a text is from, how long it is, and the loss on what is held out of who knows only its characters."""
    text = text_called(name)
    return {
        "source": f"SciPy {version('scipy')}" if name.startswith("scipy") else f"Python {python_version()}",
        "train": len(text.train),
        "held_out": len(text.held_out),
        "blind": unigram_loss(text),
    }


@cache
def _test_text(data: str, architecture: str) -> tuple[torch.Tensor, torch.Tensor]:
    text = text_called(data).held_out
    starts = torch.linspace(0, len(text) - CONTEXT, NUM_WINDOWS, dtype=torch.float64).long()
    ids = text[starts[:, None] + torch.arange(CONTEXT)]
    return (ids, ids) if architecture == "gpt2" else _masked(ids, torch.Generator().manual_seed(0))
