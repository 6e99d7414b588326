"""What a model does with given inputs, and how near another model comes to that.

    kind        what is compared with the original                 and for itself
    encoder     cosine and linear CKA of the vectors of inputs     rank correlation with grades, for graded pairs
    masked-lm   the same; agreement and KL of masked tokens        loss on the masked tokens
    decoder     agreement and KL of next tokens                    perplexity
    classifier  agreement and KL of labels                         accuracy, for labelled inputs
    seq2seq     agreement and KL of the decoder's next tokens

The vector of an input is the mean over its tokens (positions, patches) of the last hidden state. KL is from the
original to the other model, in nats a prediction. Predictions are compared at `MOST_VALUES` logits at most, at
positions that are evenly spread over the inputs; padding is never one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dna_zoo.errors import UnbuildableModelError
from library.evaluate.inputs import Batch, Inputs
from library.evaluate.measures import agreement, cosine, divergence, linear_cka, rank_correlation
from library.models import SEED, Kind, kind_of, one_line

__all__ = ["Behaviour", "compare", "run"]

MOST_VALUES = 1 << 25
"""Logits that are kept of a model: 128 MiB."""
LEAST_FOR_CKA = 4
IGNORED = -100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Behaviour:
    """What a model gave."""

    kind: Kind
    vectors: Tensor | None = None
    """(inputs, width) float32."""
    logits: Tensor | None = None
    """(predictions, choices) float32."""
    own: Mapping[str, float] = field(default_factory=dict)
    """Figures that need no other model."""


@torch.no_grad()
def run(model: Any, inputs: Inputs) -> Behaviour:
    """Run the model on all inputs. Raises `UnbuildableModelError` for one that does not run on these alone.

    What a model draws as it runs, as masked autoencoders draw which patches they see, is the same in every call.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return _run(model, inputs)


def _run(model: Any, inputs: Inputs) -> Behaviour:
    kind = kind_of(model)
    vectors, logits, losses = [], [], []
    every = _stride(model, inputs)
    for batch in inputs.batches:
        output = _output(model, kind, batch, inputs.source)
        if kind in ("encoder", "masked-lm"):
            vectors.append(_pooled(_last_hidden(output), batch))
        if kind != "encoder":
            predicted, targets = _predictions(kind, output.logits, batch)
            logits.append(predicted[::every].float())
            if targets is not None:
                losses.append(F.cross_entropy(predicted.float(), targets, reduction="none").double())
    found = Behaviour(
        kind=kind,
        vectors=torch.cat(vectors) if vectors else None,
        logits=torch.cat(logits) if logits else None,
    )
    return Behaviour(kind=kind, vectors=found.vectors, logits=found.logits, own=_own(found, losses, inputs))


def _output(model: Any, kind: Kind, batch: Batch, source: str) -> Any:
    """What the model gives for a batch, with all that is read of it."""
    try:
        found = model(**batch.arguments, output_hidden_states=kind in ("encoder", "masked-lm"), return_dict=True)
    # Whatever code of transformers does on arguments that are not all it needs, or on tokens that it has no rows for.
    except Exception as error:
        raise _refusal(model, source, one_line(error)) from error
    wanted = ("logits",) if kind != "encoder" else ("last_hidden_state", "hidden_states")
    if all(getattr(found, name, None) is None for name in wanted):
        raise _refusal(model, source, f"it gives no {' and no '.join(wanted)}")
    return found


def _refusal(model: Any, source: str, reason: str) -> UnbuildableModelError:
    return UnbuildableModelError(
        f"{type(model).__name__} cannot be run on {source} ({reason}).",
        hint="Evaluate a model that takes texts, pictures or sounds alone, with the tokenizer it was trained with.",
    )


def _own(found: Behaviour, losses: list[Tensor], inputs: Inputs) -> dict[str, float]:
    """Figures of the model by itself."""
    own: dict[str, float] = {}
    if losses:
        loss = float(torch.cat(losses).mean())
        own |= {"loss": loss} if found.kind == "masked-lm" else {"perplexity": math.exp(min(loss, 700.0))}
    if inputs.labels is not None and found.kind == "classifier" and found.logits is not None:
        own["accuracy"] = float((found.logits.argmax(dim=-1) == inputs.labels).double().mean())
    if inputs.grades is not None and found.vectors is not None:
        similar = F.cosine_similarity(found.vectors[0::2].double(), found.vectors[1::2].double(), dim=1)
        own["spearman"] = rank_correlation(similar, inputs.grades)
    return own


def compare(original: Behaviour, other: Behaviour) -> dict[str, float]:
    """How near the other model comes to the original; both ran on the same inputs."""
    found = {}
    if original.logits is not None and other.logits is not None:
        found["agreement"] = agreement(original.logits, other.logits)
        found["kl"] = divergence(original.logits, other.logits)
    if original.vectors is not None and other.vectors is not None:
        found["cosine"] = cosine(original.vectors, other.vectors)
        if len(original.vectors) >= LEAST_FOR_CKA:
            found["cka"] = linear_cka(original.vectors, other.vectors)
    return found


def _last_hidden(output: Any) -> Tensor:
    hidden = getattr(output, "last_hidden_state", None)
    if hidden is None:
        hidden = output.hidden_states[-1]
    found: Tensor = hidden
    return found


def _pooled(hidden: Tensor, batch: Batch) -> Tensor:
    """The mean over the places of each input, (N, D): tokens that are not padding, patches, or a map's pixels."""
    if hidden.ndim == 4:
        return hidden.float().mean(dim=(2, 3))
    mask = batch.arguments.get("attention_mask")
    if mask is None or mask.shape != hidden.shape[:2]:
        return hidden.float().mean(dim=1)
    weights = mask[:, :, None].float()
    return (hidden.float() * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def _predictions(kind: Kind, logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor | None]:
    """The predictions that count (P, V), and what they should be, where that is known."""
    targets, mask = batch.targets, batch.arguments.get("attention_mask")
    if targets is None:
        has_padding = mask is not None and mask.shape == logits.shape[:-1]
        return logits[mask == 1] if has_padding else logits.flatten(0, -2), None
    if kind == "decoder":
        logits, targets = logits[:, :-1], targets[:, 1:]
    counts = targets != IGNORED
    return logits[counts], targets[counts]


def _stride(model: Any, inputs: Inputs) -> int:
    """Every how many predictions one is kept."""
    choices = getattr(model.config, "vocab_size", None) or 1
    predictions = sum(batch.num_predictions for batch in inputs.batches)
    return max(math.ceil(predictions * choices / MOST_VALUES), 1)
