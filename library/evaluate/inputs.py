"""What models are run on, as batches; texts as token ids.

The shipped texts, and the pairs of sentences with a grade of how alike they are, were written for this purpose.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dna_zoo.errors import SettingsError
from library.models import Kind

__all__ = ["Batch", "Inputs", "graded_pairs", "read_texts", "shipped_texts", "text_inputs"]

BATCH = 32
LONGEST = 128
"""Tokens of a text."""
MASKED_SHARE = 0.15
IGNORED = -100
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Arguments of the model's `forward`, and what its predictions should be."""

    arguments: Mapping[str, Tensor]
    targets: Tensor | None = None
    """Shape of the predictions, -100 where none counts; of a decoder the tokens themselves."""

    @property
    def num_predictions(self) -> int:
        """At most."""
        if self.targets is not None:
            return int((self.targets != IGNORED).sum())
        first = next(iter(self.arguments.values()))
        return int(first.shape[0] * first.shape[1]) if first.ndim == 2 else int(first.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inputs:
    """Batches in order, and what is known of the inputs."""

    batches: tuple[Batch, ...]
    source: str
    """Where they are from, in words."""
    labels: Tensor | None = None
    """Right answers of a classifier, (inputs,)."""
    grades: Tensor | None = None
    """Of pairs of inputs that follow each other, (inputs / 2,)."""

    @property
    def count(self) -> int:
        return sum(len(next(iter(batch.arguments.values()))) for batch in self.batches)


def graded_pairs() -> tuple[list[str], Tensor]:
    """Sentences, two after two, and the grade of each pair: 5 for the same meaning, 0 for nothing in common."""
    text = (files("library.evaluate") / "data" / "pairs.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    sentences = [row[name] for row in rows for name in ("first", "second")]
    return sentences, torch.tensor([float(row["grade"]) for row in rows])


def shipped_texts() -> list[str]:
    return (files("library.evaluate") / "data" / "texts.txt").read_text(encoding="utf-8").splitlines()


def read_texts(path: Path) -> list[str]:
    """The lines of a file that are not empty. Raises `SettingsError` if there are fewer than two or it is no text."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{str(path)!r} cannot be read as text ({error}).", hint="Give a UTF-8 file.") from error
    found = [line for line in lines if line]
    if len(found) < 2:
        raise SettingsError(f"{str(path)!r} holds fewer than two texts.", hint="Write one text on each line.")
    return found


def text_inputs(
    kind: Kind,
    texts: Sequence[str],
    tokenizer: Any,
    *,
    longest: int,
    source: str,
    grades: Tensor | None = None,
    has_decoder: bool = False,
) -> Inputs:
    """Texts as token ids.

    - `longest`: tokens that the model takes; a text is cut to that, and to `LONGEST`;
    - `has_decoder`: whether the model has a decoder beside its encoder, which then reads the same text.
    """
    length = min(longest, LONGEST)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    ids = [_ids(tokenizer, text, length) for text in texts]
    generator = torch.Generator().manual_seed(SEED)
    batches = []
    for start in range(0, len(ids), BATCH):
        tokens, mask = _padded(ids[start : start + BATCH], pad)
        batch = _batch(kind, tokens, mask, tokenizer, generator)
        if has_decoder:
            batch = replace(batch, arguments={**batch.arguments, "decoder_input_ids": tokens})
        batches.append(batch)
    return Inputs(batches=tuple(batches), source=source, grades=grades)


def _ids(tokenizer: Any, text: str, length: int) -> list[int]:
    found = tokenizer(text, truncation=True, max_length=length)["input_ids"]
    return list(found) or [tokenizer.pad_token_id or 0]


def _padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Tokens and mask, both (N, T)."""
    longest = max(map(len, rows))
    tokens = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return tokens, mask


def _batch(kind: Kind, tokens: Tensor, mask: Tensor, tokenizer: Any, generator: torch.Generator) -> Batch:
    arguments = {"input_ids": tokens, "attention_mask": mask}
    targets = tokens.masked_fill(mask == 0, IGNORED)
    if kind == "decoder":
        return Batch(arguments=arguments, targets=targets)
    if kind == "masked-lm":
        if tokenizer.mask_token_id is None:
            raise SettingsError(
                "The tokenizer has no token that hides others, and the model predicts hidden ones.",
                hint="Put the tokenizer that the model was trained with beside its weights.",
            )
        hidden = (torch.rand(tokens.shape, generator=generator) < MASKED_SHARE) & (mask == 1)
        for special in tokenizer.all_special_ids:
            hidden &= tokens != special
        masked = tokens.masked_fill(hidden, tokenizer.mask_token_id)
        return Batch(arguments={**arguments, "input_ids": masked}, targets=tokens.masked_fill(~hidden, IGNORED))
    return Batch(arguments=arguments)
