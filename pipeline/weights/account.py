"""What became of every byte of weights: read, a second copy, a buffer, or not readable and why."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from typing import Literal

from pipeline.weights.assembly import Tensor
from zoo.tensors import FLOATING, TensorHeader, TensorKind, TensorSpec

__all__ = ["MOST_UNREADABLE", "Account", "num_bytes", "take_account", "unreadable_reason"]

Fate = Literal["read", "tied", "buffer", "unreadable"]
MOST_UNREADABLE = 0.01
"""A larger share of the bytes that cannot be read makes a model another one."""
BYTES = {"64": 8, "32": 4, "16": 2, "8": 1, "OOL": 1, "meta": 4}
"""Of a number, by the end of its format's name."""
INDICES = (
    "ids",
    "index",
    "indices",
    "idx",
    "mask",
    "masked_bias",
    "batches_tracked",
    "bias",
    "version",
    "length",
    "pos",
)
"""Ends of the names of integers that are no weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Bytes of the tensors in the files by what became of them; they add up to all."""

    read: int = 0
    tied: int = 0
    buffer: int = 0
    unreadable: int = 0
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Stored tensor -> why it cannot be read."""
    schemes: Mapping[str, int] = field(default_factory=dict)
    """Scheme of quantisation -> bytes that were read under it."""
    bits_per_weight: float | None = None
    """Of the tensors that are quantised, with their scales and zero points; None without any."""

    others: Mapping[str, int] = field(default_factory=dict)
    """Sets of weights in the same files that were not chosen -> their bytes, which are none of those above."""
    tensors: int = 0
    """Tensors of the model in all."""
    left_out: tuple[str, ...] = ()
    """Tensors that a sample of others stands for; their bytes are among those that were read."""

    @property
    def unreadable_share(self) -> float:
        """Of all bytes but those of buffers, or of all tensors, if that is more: what is empty has no bytes."""
        by_size = self.unreadable / max(self.read + self.tied + self.unreadable, 1)
        empty = sum(reason == "empty" for reason in self.reasons.values())
        return max(by_size, empty / max(self.tensors, 1))


def take_account(stored: Mapping[str, Tensor], tensors: Mapping[str, Tensor], specs: Sequence[TensorSpec]) -> Account:
    """The account of the stored tensors, from what the model's tensors are made of and what each of those is."""
    kinds: dict[str, TensorKind] = {spec.tensor: spec.kind for spec in specs}
    bytes_of: Counter[Fate] = Counter()
    schemes: Counter[str] = Counter()
    reasons: dict[str, str] = {}
    quantised = 0
    seen: set[str] = set()
    for name, tensor in tensors.items():
        size = sum(num_bytes(stored[source].header) for source in tensor.sources if source not in seen)
        seen.update(tensor.sources)  # What several tensors share, as experts do their stack, counts once.
        reason = unreadable_reason(tensor.header)
        if reason is not None:
            reasons[name] = reason
        bytes_of["unreadable" if reason else _FATES[kinds[name]]] += size
        if tensor.scheme is not None:
            schemes[tensor.scheme] += size
            quantised += prod(tensor.header.shape)
    return Account(
        read=bytes_of["read"],
        tied=bytes_of["tied"],
        buffer=bytes_of["buffer"],
        unreadable=bytes_of["unreadable"],
        reasons=reasons,
        tensors=len(tensors),
        schemes=dict(schemes),
        bits_per_weight=8 * sum(schemes.values()) / quantised if quantised else None,
    )


_FATES: Mapping[TensorKind, Fate] = {TensorKind.WEIGHT: "read", TensorKind.TIED: "tied", TensorKind.BUFFER: "buffer"}


def unreadable_reason(header: TensorHeader) -> str | None:
    """Why a tensor that may hold weights cannot be read; None if it can, or holds none.

    Integers along one axis, and those that are named like indices or masks, are no weights.
    """
    if header.dtype == "meta":
        return "a name and a shape without values"
    if 0 in header.shape and len(header.shape) > 0 and not header.name.endswith(INDICES):
        return "empty"
    if header.dtype in FLOATING:
        return None
    if not (header.dtype == "BOOL" or header.dtype[:1] in "IU"):
        return f"stored as {header.dtype}"
    is_matrix = sum(length > 1 for length in header.shape) > 1
    if not is_matrix or header.dtype == "BOOL" or header.name.endswith(INDICES):
        return None
    return f"integers ({header.dtype}) of no scheme that is known"


def num_bytes(header: TensorHeader) -> int:
    """Bytes of a tensor in the file; formats below a byte and unknown ones count as one byte a number."""
    if header.num_bytes is not None:
        return header.num_bytes
    return prod(header.shape) * _bytes_of_a_number(header.dtype)


@lru_cache(maxsize=64)
def _bytes_of_a_number(dtype: str) -> int:
    return next((size for end, size in BYTES.items() if dtype.endswith(end)), 1)
