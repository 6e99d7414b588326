"""Where a tensor sits in its network: the index of its block in execution order, and its relative depth."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from zoo.config import number_in
from zoo.matching import without_numbers

__all__ = ["Place", "module_of", "modules_above", "place_tensors", "tower_of"]


@dataclass(frozen=True, slots=True)
class Place:
    """`block` and `depth` as `TensorSpec` documents them."""

    block: int | None
    depth: float | None


class _Position(NamedTuple):
    """A block's place before blocks are numbered; sorts in execution order."""

    stack: tuple[int, str]
    """Decoders after encoders, feature extractors before both; then by path."""
    indices: tuple[int, ...]


_BlockRule = tuple[re.Pattern[str], tuple[str, ...]]
_REMEMBERED = 1 << 12
_BLOCK_RULES: tuple[_BlockRule, ...] = tuple(
    (re.compile(rf"(?:^|\.){pattern}\."), tuple(indices.split(".")))
    for pattern, indices in (
        (r"albert_layer_groups\.(\d+)\.albert_layers\.(\d+)", r"\1.\2"),
        # MobileViT nests: a stage shrinks the image and unfolds it, runs its transformer, folds and fuses.
        (r"encoder\.layer\.(\d+)\.layer\.(\d+)", r"\1.0.\2"),
        (r"encoder\.layer\.(\d+)\.(?:downsampling_layer|conv_kxk|conv_1x1)", r"\1.0.0"),
        (r"encoder\.layer\.(\d+)\.transformer\.layer\.(\d+)", r"\1.1.\2"),
        (r"encoder\.layer\.(\d+)\.(?:layernorm|conv_projection|fusion)", r"\1.2.0"),
        # Stages of blocks (ResNet, Swin, ConvNeXt, SegFormer).
        (r"(?:stages?|layers)\.(\d+)\.(?:layers|blocks)\.(\d+)", r"\1.0.\2"),
        (r"layers\.(\d+)\.downsample", r"\1.1"),
        (r"(?:layer|block\.)(\d+)\.(\d+)", r"\1.\2"),
        # All the others; the leftmost number counts, so that what a block repeats inside keeps the block's index.
        (r"(?:(?:\w+_)?layers?|h|blk|(?:res)?blocks?|stages?|features)\.(\d+)", r"\1"),
    )
)
"""Pattern of the path down to a block, and the numbers that order it: its groups, and numbers between them."""

TOWER = re.compile(r"(?:^|\.)(?:visual\w*|vision\w*|image_\w+|audio_\w+|speech_\w+|text_model|language_model)(?:\.|$)")
"""Modules that are a tower of a model with several."""
_SHARED_LAYERS = re.compile(r"(?:^|\.)albert_layer_groups\.")

_FRONT = re.compile(
    r"(?:^|\.)(?:embed(?!_out)\w*|\w+_embed\w*|\w*_tokens?|wte|wpe|shared|\w*stem|(?:conv|bn|norm)[0-2]"
    r"|pre_layrnorm|ln_pre|norm_pre|feature_projection|feature_extractor)(?:\.|$)"
    # DeBERTa's norm of the relative embeddings lies before the first block.
    r"|(?:^|\.)encoder\.LayerNorm\."
)
"""Modules before the first block. What lies outside the blocks and is not named here comes after the last."""


def place_tensors(names: Iterable[str], config: Mapping[str, Any], stacks: Sequence[str] = ()) -> dict[str, Place]:
    """The place of every tensor.

    - `stacks`: paths of further lists of layers, where the code of an architecture tells them.

    Blocks are counted from 0 through the whole network, an encoder's before its decoder's. Layers that are stored once
    and run many times have a block and no depth.
    """
    names = tuple(names)
    more = tuple((re.compile(rf"(?:^|\.){re.escape(path)}\.(\d+)\."), (r"\1",)) for path in stacks)
    positions = {name: position for name in names if (position := _position(name, more)) is not None}
    ordered = sorted(dict.fromkeys(positions.values()))  # In the order of the file they are nearly sorted.
    depths = _depths(ordered)
    shares_layers = _shares_layers(names, config)
    blocks = {
        position: Place(index, None if shares_layers else depths[position]) for index, position in enumerate(ordered)
    }
    ends = {position.stack[1]: index for index, position in enumerate(ordered, start=1)}
    return {
        name: blocks[positions[name]] if name in positions else Place(None, _depth_outside(name, ends, len(ordered)))
        for name in names
    }


def _position(name: str, more: Sequence[_BlockRule]) -> _Position | None:
    rule = _block_rule(without_numbers(name)) or _first(more, name)
    if rule is None:
        return None
    pattern, indices = rule
    match = pattern.search(name)
    assert match is not None  # The numbers that were left out decide nothing.
    stack = name[: match.start()]
    numbers = (match[int(each[1:])] if each.startswith("\\") else each for each in indices)
    return _Position((_stack_rank(stack), stack), tuple(map(int, numbers)))


@lru_cache(maxsize=_REMEMBERED)
def _block_rule(alike: str) -> _BlockRule | None:
    """The rule for a name in which numbers of two digits or more are all the same."""
    return _first(_BLOCK_RULES, alike)


def _first(rules: Sequence[_BlockRule], name: str) -> _BlockRule | None:
    return next((rule for rule in rules if rule[0].search(name)), None)


def _depths(ordered: list[_Position]) -> dict[_Position, float]:
    """The middle of each block in its tower, from 0 to 1."""
    tower_at = {stack: tower_of(stack) for stack in {position.stack[1] for position in ordered}}
    towers: dict[str, list[_Position]] = defaultdict(list)
    for position in ordered:
        towers[tower_at[position.stack[1]]].append(position)
    return {position: (index + 0.5) / len(tower) for tower in towers.values() for index, position in enumerate(tower)}


def tower_of(name: str) -> str:
    """Which tower of a multimodal model a module or tensor is in; empty for what has no tower's name."""
    match = TOWER.search(name)
    return match[0].strip(".") if match else ""


def _stack_rank(stack: str) -> int:
    if "decoder" in stack:
        return 2
    return 0 if "feature_extractor" in stack else 1


def _depth_outside(name: str, ends: Mapping[str, int], num_blocks: int) -> float:
    """0 before the blocks, 1 behind them, and the boundary for what closes one stack before the next begins.

    - `ends`: path of a stack -> how many blocks there are up to its last one.
    """
    if _FRONT.search(name):
        return 0.0
    through = [ends[module] for module in modules_above(name) if module in ends]
    return max(through) / num_blocks if through else 1.0


def modules_above(name: str) -> Iterator[str]:
    """The module, the one that holds it, and so on."""
    while name := module_of(name):
        yield name


def module_of(name: str) -> str:
    """The module that a tensor, or a module, is in; empty for what is in none."""
    return name.rpartition(".")[0]


def _shares_layers(names: tuple[str, ...], config: Mapping[str, Any]) -> bool:
    """ALBERT stores `num_hidden_groups` layers and runs `num_hidden_layers`; nearly always 1 and 12."""
    if not any(_SHARED_LAYERS.search(name) for name in names):
        return False
    return (number_in(config, "num_hidden_groups") or 1) != number_in(config, "num_hidden_layers")
