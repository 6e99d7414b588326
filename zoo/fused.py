"""Fused projections: query, key and value, or gate and up, in one matrix. Which rows are whose.

A layout that is not known is not guessed: the matrix stays whole, of role `other`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.config import HEADS, flag_in, layer_of, number_in, part_of, text_in
from zoo.matching import find_fused_rule
from zoo.rules import FusedRule
from zoo.tensors import Role

__all__ = ["Part", "is_fused", "parts_of", "tower_config"]

_QUERY, _KEY, _VALUE = Role.ATTENTION_QUERY, Role.ATTENTION_KEY, Role.ATTENTION_VALUE
BY_HEAD = frozenset({"bloom", "gpt_neox", "gpt_neox_japanese", "persimmon"})
"""Model types whose `query_key_value` has query, key and value of one head after those of another."""
IN_BLOCKS: Mapping[str, tuple[int, tuple[Role, ...]]] = {"codegen": (4, (_QUERY, _VALUE, _KEY))}
"""Model types whose `qkv_proj` consists of so many blocks, and what each of them holds, in this order."""
_KEY_HEADS = ("num_key_value_heads", "num_kv_heads", "multi_query_group_num")
_TOWERS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(rf"(?:^|\.)(?:{names})(?:\.|$)"), key)
    for names, key in (
        (r"visual\w*|vision\w*|image_\w+|vpm|vit", "vision_config"),
        (r"audio\w*|speech\w*", "audio_config"),
        (r"text\w*|language_model", "text_config"),
    )
)
"""Modules of a tower, and where `config.json` describes it."""


@dataclass(frozen=True, slots=True)
class Part:
    """Rows `start` to `stop` of all, or of every `period` rows."""

    role: Role
    label: str
    """What the part is called behind the tensor's name."""
    start: int
    stop: int
    period: int | None = None


def is_fused(stem: str) -> bool:
    """Whether the name says that it is a fused projection."""
    return find_fused_rule(stem) is not None


def tower_config(name: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of `config.json` that describes the tower a tensor is in; all of it for a model of one tower."""
    for pattern, key in _TOWERS:
        if pattern.search(name) and (own := part_of(config, key)):
            return own
    text = part_of(config, "text_config")
    # What has no tower's name is the language model, whose numbers may be in a part of their own.
    return {**config, **text} if text and number_in(config, *HEADS) is None else config


def parts_of(name: str, rows: int, cols: int, rule: FusedRule, config: Mapping[str, Any]) -> tuple[Part, ...]:
    """The parts of a fused matrix (rows, cols) in the order of query, key and value; empty where they cannot be told.

    Grouped-query attention has fewer key and value heads than query heads, all of one size. Without a configuration
    only parts as wide as the input are believed.
    """
    own = tower_config(name, config)
    kind = text_in(own, "model_type") or text_in(config, "model_type")
    layer = layer_of(name)
    heads = number_in(own, *HEADS, layer=layer)
    if not kind and rule.is_ambiguous:
        return ()
    if rule.roles != (_QUERY, _KEY, _VALUE) and rule.roles != (_KEY, _VALUE):
        return _contiguous(rule.roles, (1,) * len(rule.roles), rows, rule.labels)
    if kind in IN_BLOCKS:
        count, order = IN_BLOCKS[kind]
        return _alternating(order, (1,) * len(order), rows, count)
    if heads is None:
        return _contiguous(rule.roles, (1,) * len(rule.roles), rows) if rows == len(rule.roles) * cols else ()
    is_shared, is_new = flag_in(own, "multi_query"), flag_in(own, "new_decoder_architecture")
    groups = 1 if is_shared else number_in(own, *_KEY_HEADS, layer=layer) or heads
    if kind in BY_HEAD or (kind == "falcon" and not is_shared and not is_new):
        return _alternating(rule.roles, (1,) * len(rule.roles), rows, heads)
    if kind == "falcon" and is_new:
        groups = number_in(own, *_KEY_HEADS, layer=layer) or heads
        return _alternating(rule.roles, (heads // groups, 1, 1), rows, groups) if heads % groups == 0 else ()
    shares = tuple(heads if role is _QUERY else groups for role in rule.roles)
    return _contiguous(rule.roles, shares, rows)


def _contiguous(
    roles: Sequence[Role], shares: Sequence[int], rows: int, labels: Sequence[str] = ()
) -> tuple[Part, ...]:
    """One part after the other, each with its share of the rows; empty where the shares do not come out even."""
    unit, rest = divmod(rows, sum(shares))
    if rest:
        return ()
    starts = [unit * sum(shares[:place]) for place in range(len(shares))]
    names = labels or [role.removeprefix("attention_") for role in roles]
    return tuple(
        Part(role, label, start, start + unit * share)
        for role, label, start, share in zip(roles, names, starts, shares, strict=True)
    )


def _alternating(roles: Sequence[Role], shares: Sequence[int], rows: int, count: int) -> tuple[Part, ...]:
    """The same within each of `count` runs of rows, in the order of query, key and value."""
    period, rest = divmod(rows, count)
    parts = () if rest else _contiguous(roles, shares, period)
    ordered = sorted(parts, key=lambda part: (_QUERY, _KEY, _VALUE).index(part.role))
    return tuple(Part(part.role, part.label, part.start, part.stop, period) for part in ordered)
