"""How alike two tensors of a DNA are, as functions of row and column.

Correlation and cosine of two functions on one grid say little alone: canonical functions are smooth, have means, and
grow from their largest row and column on, so any two of them have something in common. The null keeps all of that. Of
the second function b it keeps the means of rows and columns, the sizes of rows and columns (their root mean squares
beyond the means, an envelope), and of what is left the energy at every pair of frequencies of its cosine transform and
the singular values: its smoothness and its rank. A draw flips the sign of each frequency along the rows, and of each
along the columns, by a fair coin. If these signs are independent of the other function, value and draws are
exchangeable. Between DNA of shuffled specimens, each in its canonical order, p is below 0.05 as often as it should be
(`tests/pipeline/dna/test_ask.py`). It says nothing where one network serves both tensors: that is smooth along depth.

M, N = rows and columns of the grid.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
from scipy.fft import dctn

from patterndb.multiplicity import q_values
from pipeline.arrays import Float32, Float64
from pipeline.dna.dna import Dna, DnaTensor
from zoo.tensors import Role

__all__ = ["NUM_DRAWS", "Alike", "compare_functions", "layer_pairs", "measure", "role_pairs"]

NUM_DRAWS = 9999
"""Enough for one pair among 250 to be found: p is at least 0.0002."""
LARGEST_GRID = 128
PROJECTIONS = (Role.ATTENTION_QUERY, Role.ATTENTION_KEY, Role.ATTENTION_VALUE)

Pair = tuple[DnaTensor, DnaTensor]
Relation = Literal["layers", "roles"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """Two tensors as functions; null figures are means and standard deviations over the draws."""

    a: str
    b: str
    relation: Relation
    """`layers`: one role in two blocks; `roles`: query, key and value of one block."""
    grid: tuple[int, int]
    """Rows and columns of the grid: the fewest that one of the two has, at most 128."""
    correlation: float
    """Pearson's."""
    null_correlation: float
    null_std: float
    cosine: float
    """Of the values themselves, their mean included."""
    null_cosine: float
    num_draws: int
    z: float | None
    """Of the correlation; None where the null does not vary."""
    p: float | None
    """Two-sided, of the correlation; None where one network serves both tensors."""
    q: float | None = None
    """p adjusted for all pairs that were compared together."""


def layer_pairs(tensors: Iterable[DnaTensor]) -> list[Pair]:
    """Any two blocks' tensors of one role; of several in a block, those of the same place in it."""
    places: dict[object, list[DnaTensor]] = defaultdict(list)
    for tensors_of_block in _by_block(tensors).values():
        seen: dict[Role, int] = defaultdict(int)
        for tensor in tensors_of_block:
            places[tensor.role, seen[tensor.role]].append(tensor)
            seen[tensor.role] += 1
    return [pair for found in places.values() for pair in combinations(found, 2)]


def role_pairs(tensors: Iterable[DnaTensor]) -> list[Pair]:
    """Query, key and value of a block, each with each; of several attentions in a block, those of the same place."""
    pairs: list[Pair] = []
    for tensors_of_block in _by_block(tensors).values():
        modules: list[dict[Role, DnaTensor]] = []
        for tensor in (each for each in tensors_of_block if each.role in PROJECTIONS):
            free = next((module for module in modules if tensor.role not in module), None)
            if free is None:
                modules.append(free := {})
            free[tensor.role] = tensor
        pairs += [pair for module in modules for pair in combinations(module.values(), 2)]
    return pairs


def _by_block(tensors: Iterable[DnaTensor]) -> dict[int, list[DnaTensor]]:
    found: dict[int, list[DnaTensor]] = defaultdict(list)
    for tensor in tensors:
        if tensor.spec.block is not None:
            found[tensor.spec.block].append(tensor)
    return dict(sorted(found.items()))


def compare_functions(dna: Dna, pairs: Sequence[tuple[Relation, Pair]], *, seed: int = 0) -> tuple[Alike, ...]:
    """These pairs of the DNA's tensors, in order; q is over all of them."""
    is_shared = dna.settings.scope == "model"
    sampled: dict[tuple[str, tuple[int, int]], Float64] = {}

    def values(tensor: DnaTensor, grid: tuple[int, int]) -> Float64:
        if (tensor.name, grid) not in sampled:
            sampled[tensor.name, grid] = tensor.resample(grid).double().numpy()
        return sampled[tensor.name, grid]

    found = []
    for relation, (a, b) in pairs:
        rows, cols = (min(a.shape[axis], b.shape[axis], LARGEST_GRID) for axis in (0, 1))
        figures = measure(values(a, (rows, cols)), values(b, (rows, cols)), _rng(seed, a.name, b.name))
        if is_shared:
            figures["z"] = figures["p"] = None
        found.append(Alike(a=a.name, b=b.name, relation=relation, grid=(rows, cols), num_draws=NUM_DRAWS, **figures))  # type: ignore[arg-type]
    adjusted = q_values([each.p for each in found])
    return tuple(replace(each, q=q) for each, q in zip(found, adjusted, strict=True))


def _rng(seed: int, a: str, b: str) -> np.random.Generator:
    """The same for a pair whatever else is compared."""
    digest = hashlib.sha256(f"{a}\n{b}".encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


def measure(a: Float64, b: Float64, rng: np.random.Generator) -> dict[str, float | None]:
    """Correlation and cosine of two functions (M, N) on one grid, with the null of the second's signs."""
    means, terms = _parts(a, b)
    along_rows, along_cols = (_coins(length, rng) for length in terms.shape)
    draws = np.einsum("dn,dn->d", along_rows @ terms.astype(np.float32), along_cols).astype(np.float64) + means
    spread = float(np.linalg.norm(a - a.mean()) * np.linalg.norm(b - b.mean())) or 1.0
    norms = float(np.linalg.norm(a) * np.linalg.norm(b)) or 1.0
    value, mean, std = means + float(terms.sum()), float(draws.mean()), float(draws.std(ddof=1))
    both_means = a.size * float(a.mean() * b.mean())
    rank = min(int((draws >= value).sum()), int((draws <= value).sum())) + 1
    return {
        "correlation": value / spread,
        "null_correlation": mean / spread,
        "null_std": std / spread,
        "cosine": (value + both_means) / norms,
        "null_cosine": (mean + both_means) / norms,
        "z": (value - mean) / std if std > 0 else None,
        "p": min(2 * rank / (len(draws) + 1), 1.0),
    }


def _coins(length: int, rng: np.random.Generator) -> Float32:
    """+1 or -1, (`NUM_DRAWS`, length)."""
    return rng.integers(0, 2, (NUM_DRAWS, length), dtype=np.int8).astype(np.float32) * 2 - 1


def _parts(a: Float64, b: Float64) -> tuple[float, Float64]:
    """The inner product of two functions about their means as a sum: what their row and column means give, and a term
    for each cosine coefficient of b (M, N), which changes its sign with it."""
    of_means_a, rest_a = _additive(a)
    of_means_b, rest_b = _additive(b)
    envelope = _envelope(rest_b)
    terms: Float64 = dctn(rest_b / envelope, norm="ortho") * dctn(rest_a * envelope, norm="ortho")
    return float((of_means_a * of_means_b).sum()), terms


def _additive(values: Float64) -> tuple[Float64, Float64]:
    """What the means of rows and columns say about the mean, and the rest."""
    rows, cols = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
    of_means = rows + cols - 2 * values.mean()
    return of_means, values - values.mean() - of_means


def _envelope(rest: Float64) -> Float64:
    """Sizes of the rows times sizes of the columns, (M, N), positive."""
    squares = np.square(rest)
    total = max(float(squares.mean()), 1e-300)
    rows, cols = squares.mean(axis=1, keepdims=True) / total, squares.mean(axis=0, keepdims=True) / total
    return np.asarray(np.sqrt(np.maximum(rows * cols, 1e-6) * total))
