"""Products: what the two matrices of an attention have to do with each other.

`W_q^T W_k` and `W_o W_v`, summed over heads, map the residual stream (N units) to itself. No order or rotation inside a
head changes them, and a new order of the stream moves rows and columns alike, so the diagonal stays the diagonal. In
trained transformers it is not zero (Trockman & Kolter 2023): a token attends to what is like it, or away from it.

The rows and columns of the product M are scaled first until all have length 1 (Sinkhorn & Knopp 1967), M' = D M E, so
that units of large weights in both factors do not count for more, and gains of norms for nothing, whether they are
folded into the weights or not. The statistic is

    trace = sum_i M'[i, i] / (sqrt(N) |M'|),    in [-1, 1],

the cosine between M' and the identity: 1 for a diagonal of one sign and size. The null is `reorder`: the units of one
factor in random order, sum_i M'[i, order[i]]; both factors stay as they are, and only their correspondence goes. Where
the signs of the stream are arbitrary, they are drawn too. Blocks may differ in sign, and would cancel where they are
pooled: so `..._size`, its absolute value, stands beside each trace.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from pipeline.analyse.aggregation import Measured
from pipeline.arrays import Float32, Float64, Indices
from zoo.tensors import TensorSpec
from zoo.wiring import Attention, find_stacks

__all__ = ["OUTPUT_VALUE", "QUERY_KEY", "measure_products", "measure_trace"]

QUERY_KEY, OUTPUT_VALUE = "products.query_key_trace", "products.output_value_trace"
NUM_SWEEPS = 30
"""Of the scaling: dense products need a handful until float64 changes no more."""

PieceLoader = Callable[[TensorSpec], Iterable[Float32]]
RngOf = Callable[[TensorSpec, int], np.random.Generator]


def measure_products(
    specs: Sequence[TensorSpec], pieces: PieceLoader, rng_of: RngOf, num_nulls: int
) -> dict[str, list[Measured]]:
    """Name of a query or of an attention's output -> the trace of its product, and the size of it.

    - `pieces(spec)`: the matrix in the order of the file, float32 (rows, cols), some rows at a time.
    - `rng_of(spec, draw)`: the generator of a draw of the null.

    Left out are cross-attention, which reads two streams, and keys and values with fewer heads than the queries: the
    size of a head is not in the shapes.
    """

    def load(spec: TensorSpec) -> Float32:
        return np.concatenate([*pieces(spec)])

    found: dict[str, list[Measured]] = {}
    attentions = (own for stack in find_stacks(specs) for block in stack.blocks for own in block.attentions)
    for name, one, two, is_writer in (pair for attention in attentions for pair in _pairs(attention)):
        rngs = [rng_of(one, draw) for draw in range(num_nulls)]
        is_free = one.free_row_signs if is_writer else one.free_col_signs
        left = load(one).T if is_writer else load(one)
        trace = measure_trace(name, left, load(two), rngs, signs_are_free=is_free)
        sizes = [abs(each) for each in (trace.value, *trace.draws)]
        found[one.name] = [trace, replace(trace, name=f"{name}_size", value=sizes[0], draws=tuple(sizes[1:]))]
    return found


def measure_trace(
    name: str, one: Float32, two: Float32, rngs: Sequence[np.random.Generator], *, signs_are_free: bool = False
) -> Measured:
    """The trace of `one^T two` for two factors (K, N), with a draw of its null for each generator."""
    product = _scaled_product(one, two, signs_are_free=signs_are_free)
    size, norm = len(product), float(np.linalg.norm(product))
    units = np.arange(size)

    def share(partners: Indices, signs: Float64 | float = 1.0) -> float:
        return float((signs * product[units, partners]).sum() / (np.sqrt(size) * norm)) if norm else float("nan")

    def draw(rng: np.random.Generator) -> float:
        order = rng.permutation(size)
        return share(order, rng.choice([-1.0, 1.0], size) if signs_are_free else 1.0)

    return Measured(name=name, value=share(units), kind="reorder", draws=tuple(map(draw, rngs)))


def _pairs(attention: Attention) -> Iterator[tuple[str, TensorSpec, TensorSpec, bool]]:
    """Name of the statistic, the two factors, and whether the first one writes the stream."""
    query, key, value, output = attention.query, attention.key, attention.value, attention.output
    if attention.is_cross:
        return
    if key is not None and (query.rows, query.cols) == (key.rows, key.cols):
        yield QUERY_KEY, query, key, False
    if value is not None and output is not None and (output.cols, output.rows) == (value.rows, value.cols):
        yield OUTPUT_VALUE, output, value, True


def _scaled_product(one: Float32, two: Float32, *, signs_are_free: bool) -> Float64:
    """(N, N), all rows and columns of length 1 but those of zeros.

    Units stand in the order of their diagonal entries, which is the same in every permuted copy, so that the copy gets
    the same draws. Free signs are those that make the first row positive. A random order stays a random one, whatever
    order it is applied to.
    """
    product = one.astype(np.float64).T @ two.astype(np.float64)
    rows, cols = _balanced(product**2)
    product *= rows[:, None]
    product *= cols
    order = np.argsort(-np.diagonal(product), kind="stable")
    product = product[np.ix_(order, order)]
    if signs_are_free:
        signs = np.where(product[0] < 0, -1.0, 1.0)
        product *= signs[:, None] * signs
    return product


def _balanced(squares: Float64) -> tuple[Float64, Float64]:
    """What to multiply rows and columns with, so that their squares (N, N) add up to 1."""
    rows = cols = np.ones(len(squares))
    for _ in range(NUM_SWEEPS):
        rows = _inverse(squares @ cols)
        cols = _inverse(rows @ squares)
    return np.sqrt(rows), np.sqrt(cols)


def _inverse(sums: Float64) -> Float64:
    return np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)
