"""Which stored tensors are second copies of others: by shared storage where the file tells, else by name and shape."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from zoo.config import flag_in, text_in
from zoo.tensors import TensorHeader

__all__ = ["find_ties"]

_OUTPUT_EMBEDDING = re.compile(
    r"(?:^|\.)(?:(?:cls\.predictions|predictions|lm_head)\.decoder|(?:generator_)?lm_head|lm_loss|vocab_projector|proj_out)\.weight$"
    r"|^decoder\.weight$"
)
_INPUT_EMBEDDING = re.compile(
    r"(?:^|\.)(?:word_embeddings?|embed_tokens|tokens_embed|wte|tok_embeddings|embeddings|embed_in|shared)\.weight$"
)

_TWINS: tuple[tuple[re.Pattern[str], str], ...] = (
    # BERT's language-model heads keep their bias twice, once inside the decoder.
    (re.compile(r"(^|\.)(cls\.predictions|predictions|lm_head)\.decoder\.bias$"), r"\1\2.bias"),
    # T5 and BART: both stacks read one table.
    (re.compile(r"(^|\.)(?:encoder|decoder)\.embed_tokens\.weight$"), r"\1shared.weight"),
)
"""A second copy, and the name of its first."""

_UNTIED_BY_DEFAULT = frozenset(
    {"codegen", "gpt_neox", "gptj", "imagegpt", "llama", "mistral", "mixtral", "olmo", "persimmon", "phi", "phi3"}
    | {"qwen2", "qwen2_moe", "qwen3", "reformer", "rembert", "rwkv", "stablelm"}
)
"""Model types whose configuration means `tie_word_embeddings: false` when it does not say."""


def find_ties(headers: Sequence[TensorHeader], config: Mapping[str, Any], shared: Mapping[str, str]) -> dict[str, str]:
    """Name of each second copy -> name of the tensor it repeats.

    - `shared`: name -> first name of the same storage, as the reader found it; decides where it speaks. The embedding
      counts as the original and the head as the copy, whichever the file lists first.
    - Elsewhere an output embedding of the input embedding's shape is its copy, unless `tie_word_embeddings` is off.
    """
    shapes = {header.name: header.shape for header in headers}
    default = text_in(config, "model_type") not in _UNTIED_BY_DEFAULT
    ties = _ties_by_name(shapes) if flag_in(config, "tie_word_embeddings", default) else {}
    return {**{name: first for name, first in ties.items() if name not in shared}, **_ties_by_storage(shapes, shared)}


def _ties_by_name(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    ties, tables = {}, _input_embeddings(shapes)
    for name, shape in shapes.items():
        first = _twin(name) if _OUTPUT_EMBEDDING.search(name) is None else tables.get(shape)
        if first is not None and shapes.get(first) == shape:
            ties[name] = first
    return ties


def _twin(name: str) -> str | None:
    return next((pattern.sub(first, name) for pattern, first in _TWINS if pattern.search(name)), None)


def _input_embeddings(shapes: Mapping[str, tuple[int, ...]]) -> dict[tuple[int, ...], str]:
    """Shape -> the table of it that is stored under its own right: T5's `shared` before the stacks' copies of it."""
    candidates = sorted(filter(_INPUT_EMBEDDING.search, shapes), key=lambda name: (_twin(name) in shapes, name))
    return {shapes[name]: name for name in reversed(candidates)}


def _ties_by_storage(shapes: Mapping[str, tuple[int, ...]], shared: Mapping[str, str]) -> dict[str, str]:
    ties, groups = {}, dict[str, list[str]]()
    firsts = {*shared.values()}
    for name in shapes:
        for first in {shared.get(name, name), name} & firsts:
            groups.setdefault(first, []).append(name)
    for first in dict.fromkeys(shared.values()):
        group = groups.get(first, [])
        original = min(group, key=_rank, default=first)
        ties.update({name: original for name in group if name != original and shapes[name] == shapes[original]})
    return ties


def _rank(name: str) -> tuple[bool, bool]:
    """The original of several equal tensors comes first: an input embedding, before what has any other name."""
    return _is_named_as_copy(name), _INPUT_EMBEDDING.search(name) is None


def _is_named_as_copy(name: str) -> bool:
    """Whether a tensor, of several in one storage, is named like the second copy."""
    return bool(_OUTPUT_EMBEDDING.search(name)) or _twin(name) is not None
