"""Fused projections: query, key and value, or gate and up, in one matrix. Which rows are whose.

A layout that is not known is not guessed: the matrix stays whole, of role `other`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from zoo.config import HEADS, flag_in, layer_of, number_in, part_of, text_in
from zoo.matching import rules_of
from zoo.rules import GATE_AND_UP, FusedRule
from zoo.tensors import Role

__all__ = ["Part", "gate_and_up", "is_fused", "parts_of", "tower_config"]

_QUERY, _KEY, _VALUE = Role.ATTENTION_QUERY, Role.ATTENTION_KEY, Role.ATTENTION_VALUE


class _Order(Enum):
    """How query, key and value lie in one matrix."""

    TOGETHER = auto()
    """All queries, then all keys, then all values."""
    BY_HEAD = auto()
    """Query, key and value of one head after those of another."""
    BY_GROUP = auto()
    """The queries that share a key, that key and its value, one such group after the other."""


_SINGLE = {
    "query_key_value": frozenset({"bloom", "gpt_neox", "gpt_neox_japanese", "persimmon"}),
    "qkv_proj": frozenset({"minimax"}),
}
"""Last part of a name -> model types that store it by head."""
_GROUPED = {"wqkv": frozenset({"internlm2"})}
"""The same by group."""
_SHARED: Mapping[str, tuple[str, str, bool]] = {
    "gpt_bigcode": ("c_attn", "multi_query", True),
    "falcon": ("query_key_value", "multi_query", True),
    "chatglm": ("query_key_value", "multi_query_attention", False),
}
"""Model type -> the last part of a name, the setting that says whether heads share keys, and what that is where it is
not said: if they do, all of a kind lie together, else by head. ChatGLM's is that of `SelfAttention.forward` in the
`modeling_chatglm.py` of ChatGLM2, ChatGLM3 and GLM-4 (THUDM), which splits [heads, groups, groups] where
`multi_query_attention` is set and (heads, 3 widths) where not; ChatGLM-6B's has no such setting and only the latter."""
_GATES: Mapping[str, tuple[str, str]] = {"chatglm": ("dense_h_to_4h", "ffn_hidden_size")}
"""Model type -> the last part of the name of a matrix that is gate and up one after the other where it has twice as
many rows as the setting says: `MLP` in the same files halves what it gives (`swiglu`). ChatGLM-6B has no gate."""
IN_BLOCKS: Mapping[str, tuple[int, tuple[Role, ...]]] = {"codegen": (4, (_QUERY, _VALUE, _KEY))}
"""Model types whose `qkv_proj` consists of so many blocks, and what each of them holds, in this order."""
_THIRDS = frozenset({"qkv", "in_proj_weight", "W_pack", "attn_qkv"})
"""Last parts of names that say three equal parts, where no number of key heads is declared."""
_KEY_HEADS = ("num_key_value_heads", "num_kv_heads", "multi_query_group_num", "kv_n_heads")
_WIDTHS = ("head_dim", "attention_head_size", "kv_channels", "d_kv")
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
    return rules_of(stem).fused is not None


def gate_and_up(stem: str, rows: int, config: Mapping[str, Any]) -> FusedRule | None:
    """The rule for a matrix that is a gate and what it gates in some model types alone; None for any other."""
    name, setting = _GATES.get(text_in(config, "model_type"), ("", ""))
    width = number_in(config, setting)
    return GATE_AND_UP if stem.rpartition(".")[2] == name and width and rows == 2 * width else None


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
    if rule.roles[0] not in (_QUERY, _KEY):
        return _contiguous(rule.roles, (1,) * len(rule.roles), rows, rule.labels)
    own = tower_config(name, config)
    kind = text_in(own, "model_type") or text_in(config, "model_type")
    last, layer = name.removesuffix(".weight").rpartition(".")[2], layer_of(name)
    if kind in IN_BLOCKS and last == "qkv_proj":
        count, blocks = IN_BLOCKS[kind]
        return _alternating(blocks, (1,) * len(blocks), rows, count)
    order = _order_of(last, kind, own, rule)
    heads, groups = number_in(own, *HEADS, layer=layer), _key_heads(last, kind, own, layer)
    if order is None or (heads is None and order is not _Order.TOGETHER):
        return ()
    if heads is None:
        return _contiguous(rule.roles, (1,) * len(rule.roles), rows) if rows == len(rule.roles) * cols else ()
    if order is _Order.BY_HEAD:
        return _alternating(rule.roles, (1,) * len(rule.roles), rows, heads)
    if order is _Order.BY_GROUP:
        groups = groups or heads
        return _alternating(rule.roles, (heads // groups, 1, 1), rows, groups) if heads % groups == 0 else ()
    width = number_in(own, *_WIDTHS, layer=layer)
    is_even = last in _THIRDS or rows == len(rule.roles) * (heads * width if width else cols)
    if groups is None and not is_even:
        return ()  # Fewer keys than queries, and nothing says how many.
    shares = tuple(heads if role is _QUERY else groups or heads for role in rule.roles)
    return _contiguous(rule.roles, shares, rows)


def _order_of(last: str, kind: str, own: Mapping[str, Any], rule: FusedRule) -> _Order | None:
    """How the parts lie; None where neither the name nor the model type tells."""
    if kind in _GROUPED.get(last, ()):
        return _Order.BY_GROUP
    if kind in _SINGLE.get(last, ()):
        return _Order.BY_HEAD
    name, setting, default = _SHARED.get(kind, ("", "", False))
    if name == last:
        if kind == "falcon" and flag_in(own, "new_decoder_architecture"):
            return _Order.BY_GROUP
        return _Order.TOGETHER if flag_in(own, setting, default) else _Order.BY_HEAD
    return None if rule.is_ambiguous else _Order.TOGETHER


def _key_heads(last: str, kind: str, own: Mapping[str, Any], layer: int | None) -> int | None:
    """How many heads keys and values have, where it is declared."""
    name, _, default = _SHARED.get(kind, ("", "", False))
    if flag_in(own, "multi_query", default and name == last) and not flag_in(own, "new_decoder_architecture"):
        return 1
    declared = number_in(own, *_KEY_HEADS, layer=layer)
    return declared or number_in(part_of(own, "attn_config"), *_KEY_HEADS, layer=layer)


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
