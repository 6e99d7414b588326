"""Products: the diagonal of what two matrices do one after the other, which no change of basis between them moves.

`W_q^T W_k` is near the identity and `W_o W_v` near minus the identity in vision transformers, with other signs in
language models (Trockman & Kolter 2023, "Mimetic initialization of self-attention layers": alpha noise + beta I). The
trace of such a product is the scalar product of the two factors (K, N) as vectors, and over their lengths it is their
cosine: the measure here, by head. It is 0 for random weights, whatever K and N are. The feed-forward pair has one, too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoo.tensors import TensorSpec
from zoo.wiring import find_stacks

__all__ = ["PRODUCTS", "Pair", "find_pairs", "impose_product", "measure_product"]

Float64 = npt.NDArray[np.float64]
PRODUCTS = "products"
LEAST = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two matrices with an axis between them; `led` is changed to fit `leader`."""

    subject: str
    leader: TensorSpec
    led: TensorSpec
    led_writes: bool
    """Whether `led` writes the stream, so that its transpose is the factor (K, N)."""
    has_heads: bool


def find_pairs(specs: Sequence[TensorSpec]) -> Iterator[Pair]:
    """Query and key, value and output, and the feed-forward pairs, where the shapes are those of a product.

    Left out are cross-attention, which reads two streams, and keys and values with fewer heads than the queries.
    """
    for block in (block for stack in find_stacks(specs) for block in stack.blocks):
        for own in block.attentions:
            key, value, output = own.key, own.value, own.output
            if own.is_cross:
                continue
            if key is not None and (own.query.rows, own.query.cols) == (key.rows, key.cols):
                yield Pair(subject="query_key", leader=own.query, led=key, led_writes=False, has_heads=True)
            if value is not None and output is not None and (output.cols, output.rows) == (value.rows, value.cols):
                yield Pair(subject="output_value", leader=value, led=output, led_writes=True, has_heads=True)
        for feed in block.feed_forwards:
            if (feed.enter.rows, feed.enter.cols) == (feed.leave.cols, feed.leave.rows):
                yield Pair(subject="ffn", leader=feed.enter, led=feed.leave, led_writes=True, has_heads=False)


def measure_product(leader: Float64, led: Float64, num_heads: int) -> Float64:
    """(2,): the mean cosine of two factors (K, N) over heads, and its spread between heads beyond that of chance.

    - `num_heads`: K is cut into so many equal parts; all in one where it is no multiple.
    """
    cosines = np.array([_cosine(one, two) for one, two in _heads(leader, led, num_heads)])
    chance = len(cosines) / leader.size
    return np.array([cosines.mean(), np.sqrt(max(float(cosines.var()) - chance, 0.0))])


def impose_product(leader: Float64, led: Float64, values: Float64, num_heads: int, rng: np.random.Generator) -> Float64:
    """`led` (K, N), turned towards or away from `leader` in each head so that `measure_product` returns `values`."""
    parts = []
    for one, two in _heads(leader, led, num_heads):
        cosine = float(np.clip(values[0] + values[1] * rng.standard_normal(), -0.99, 0.99))
        along = one / max(float(np.linalg.norm(one)), LEAST)
        size = float(np.linalg.norm(two))
        across = two - along * float((along * two).sum())
        across /= max(float(np.linalg.norm(across)), LEAST)
        parts.append(size * (cosine * along + np.sqrt(1 - cosine**2) * across))
    return np.concatenate(parts)


def _heads(leader: Float64, led: Float64, num_heads: int) -> Iterator[tuple[Float64, Float64]]:
    count = num_heads if num_heads > 0 and len(leader) % num_heads == 0 else 1
    return zip(np.split(leader, count), np.split(led, count), strict=True)


def _cosine(one: Float64, two: Float64) -> float:
    return float((one * two).sum() / max(float(np.linalg.norm(one) * np.linalg.norm(two)), LEAST))
