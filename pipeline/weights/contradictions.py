"""Where a `config.json` contradicts the tensors beside it: model type, number of layers, width, vocabulary.

Only what cannot be meant otherwise is named. Whoever wrote the file may have cut layers, or copied the config of
another model; roles and axes are read from names and shapes, and heads alone from the config.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from dna_zoo.text import printable
from zoo.config import Config, flag_in, number_in, text_in
from zoo.markers import MARKERS, types_of
from zoo.tensors import Axis, Role, TensorSpec

__all__ = ["contradictions"]

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
WIDTHS = ("hidden_size", "n_embd", "d_model")
VOCABULARY, SENTENCES = "vocab_size", "type_vocab_size"
IN_LAYERS = (Role.ATTENTION_QUERY, Role.ATTENTION_OUTPUT)
PADDING = 1024
"""Rows that an embedding may have beyond the vocabulary: libraries pad it to a multiple that hardware likes."""
LONGEST = 40


def contradictions(config: Config, specs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """A sentence for each thing that the config says and the tensors deny; none without a config.

    Of a model made of others, whose configs are in its own, the type alone is looked at.
    """
    if any(isinstance(part, Mapping) and "model_type" in part for part in config.values()):
        return tuple(_of_model_type(config, specs))
    return (
        *_of_model_type(config, specs),
        *_of_layers(config, specs),
        *_of_width(config, specs),
        *_of_vocabulary(config, specs),
    )


def _of_model_type(config: Config, specs: Sequence[TensorSpec]) -> Iterator[str]:
    declared = text_in(config, "model_type")
    found = types_of(spec.tensor for spec in specs)
    known = {each for _, types in found.values() for each in types}
    if found and declared not in known and _has_marker(declared):
        sign, _ = next(iter(found.values()))
        yield (
            f"config.json says that the model is of type {printable(declared, longest=LONGEST)!r}, and its tensors are"
            f" named like those of {sign!r}."
        )


def _has_marker(declared: str) -> bool:
    return any(declared in types for _, types in MARKERS.values())


def _of_layers(config: Config, specs: Sequence[TensorSpec]) -> Iterator[str]:
    """Where no numbered row of modules with attention in it is as long as the config says."""
    inside = [spec for spec in specs if spec.role in IN_LAYERS and spec.block is not None]
    if not inside or any(spec.depth is None for spec in inside):  # One stored layer may serve for several.
        return
    lengths = _lengths(spec.tensor for spec in specs)
    names = (*LAYERS, "encoder_layers") if flag_in(config, "is_encoder_decoder") else LAYERS
    for name in names:
        declared = number_in(config, name)
        if declared is not None and lengths and declared not in lengths:
            longest = max(_lengths(spec.tensor for spec in inside))
            yield f"config.json says {declared:,} layers (`{name}`), and the tensors are of {longest:,}."


def _lengths(names: Iterable[str]) -> set[int]:
    """How many numbers follow each beginning of a name that a number follows."""
    numbers: dict[str, set[int]] = {}
    for name in names:
        parts = name.split(".")
        for place, part in enumerate(parts):
            if part.isdecimal():
                numbers.setdefault(".".join(parts[:place]), set()).add(int(part))
    return {len(each) for each in numbers.values()}


def _of_width(config: Config, specs: Sequence[TensorSpec]) -> Iterator[str]:
    """Where neither a norm nor the residual side of a matrix is as wide as the config says."""
    widths = {spec.cols: spec.num_weights for spec in specs if spec.role is Role.NORM and spec.rows == 1}
    for spec in specs:
        for size, axis in ((spec.rows, spec.row_axis), (spec.cols, spec.col_axis)):
            if axis is Axis.RESIDUAL and spec.is_matrix:
                widths[size] = widths.get(size, 0) + spec.num_weights
    for name in WIDTHS:
        declared = number_in(config, name)
        if declared is not None and widths and declared not in widths:
            usual = max(widths, key=lambda size: widths[size])
            yield f"config.json says a width of {declared:,} (`{name}`), and the tensors have {usual:,}."


def _of_vocabulary(config: Config, specs: Sequence[TensorSpec]) -> Iterator[str]:
    """Where the embedding has fewer rows than the config has words, or more than padding explains."""
    declared = number_in(config, VOCABULARY)
    if any("vocab" in name and name not in (VOCABULARY, SENTENCES) and number_in(config, name) for name in config):
        return  # Several vocabularies may share an embedding.
    rows = [
        spec.rows
        for spec in specs
        if spec.role is Role.TOKEN_EMBEDDING and spec.is_matrix and spec.row_axis is Axis.VOCABULARY
    ]
    if declared is None or not rows or any(0 <= each - declared <= PADDING for each in rows):
        return
    if max(rows) > 2:  # Such as the kinds of sentences.
        said = f"config.json says a vocabulary of {declared:,} (`{VOCABULARY}`)"
        yield f"{said}, and the embedding has {max(rows):,} rows."
