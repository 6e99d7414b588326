"""What can the statistics see? A gallery of planted structure, alone and in noise, and which statistic finds it.

    python -m benchmarks.power                    # the table (about ten minutes of one core)
    python -m benchmarks.power --only fourier     # one kind
    python -m benchmarks.power --out power        # and keep it in results/

Each matrix is W = sqrt(s) S + sqrt(1 - s) N: S the structure and N Gaussian noise, both of mean square 1, s the share
of the squares that is structure. Rows and columns stand in a random order and, where `signs` says so, have random
signs, as those of a network may. A statistic sees the structure at s if its pooled figure over four matrices has
p <= 0.01 in at least 8 of 10 repeats. The table has the smallest such s for the best statistic, and the share of
repeats at s = 1 whose class is not `noisy`. A kind that nothing sees is written down as such.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.fft import dct
from scipy.linalg import circulant, hadamard, toeplitz

from pipeline.analyse.aggregation import TensorAnalysis, pool
from pipeline.analyse.classes import classify
from pipeline.analyse.statistics.products import measure_products
from pipeline.analyse.tensor import analyse_tensor
from pipeline.order import canonicalise, seriate_tensor
from pipeline.settings import AnalysisSettings
from zoo.tensors import Axis, Role, TensorSpec

RESULTS = Path(__file__).parent / "results"
SIZE = 64
STRENGTHS = (1.0, 0.5, 0.25, 0.1, 0.05)
MATRICES, REPEATS, NUM_NULLS = 4, 10, 8
LEVEL, SEEN = 0.01, 0.8
Float64 = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator], Float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A kind of structure, and which symmetries its axes have."""

    draw: Draw
    permuted: bool = True
    """Whether rows and columns stand in a random order."""
    signs: bool = False
    """Whether their signs are random too."""
    places: bool = False
    """Whether the columns are places, in their real order and with their signs."""
    is_product: bool = False
    """Whether it lies between two matrices, a query and a key: the draw is the query, and part of the key."""
    noise_free: bool = False
    """Whether it is a property of the single values: then noise stands in place of some of them, and is not added."""


def _fourier(rng: np.random.Generator) -> Float64:
    angles = 2 * np.pi * np.outer(np.arange(SIZE), np.arange(SIZE)) / SIZE
    return np.cos(angles) + np.sin(angles)


def _circulant(rng: np.random.Generator) -> Float64:
    return np.asarray(circulant(rng.standard_normal(SIZE)))


def _toeplitz(rng: np.random.Generator) -> Float64:
    return np.asarray(toeplitz(rng.standard_normal(SIZE), rng.standard_normal(SIZE)))


def _blocks(rng: np.random.Generator) -> Float64:
    return np.asarray(np.kron(np.eye(8), np.ones((8, 8))) * rng.standard_normal((SIZE, SIZE)))


def _banded(rng: np.random.Generator) -> Float64:
    near = np.abs(np.subtract.outer(np.arange(SIZE), np.arange(SIZE))) <= 3
    return near * rng.standard_normal((SIZE, SIZE))


def _kronecker(rng: np.random.Generator) -> Float64:
    return np.asarray(np.kron(rng.standard_normal((8, 8)), rng.standard_normal((8, 8))))


def _duplicates(rng: np.random.Generator) -> Float64:
    half = rng.standard_normal((SIZE // 2, SIZE))
    return np.concatenate([half, half])


def _opposites(rng: np.random.Generator) -> Float64:
    half = rng.standard_normal((SIZE // 2, SIZE))
    return np.concatenate([half, -half])


def _groups(num_groups: int) -> Draw:
    def draw(rng: np.random.Generator) -> Float64:
        return rng.standard_normal((num_groups, SIZE))[np.arange(SIZE) % num_groups]

    return draw


def _grid(levels: int) -> Draw:
    def draw(rng: np.random.Generator) -> Float64:
        step = 6 / (levels - 1)
        return np.clip(np.round(rng.standard_normal((SIZE, SIZE)) / step), -(levels // 2), levels // 2) * step

    return draw


def _pruned(rng: np.random.Generator) -> Float64:
    values = rng.standard_normal((SIZE, SIZE))
    return np.where(np.abs(values) < 0.674, 0.0, values)


def _positions(rng: np.random.Generator) -> Float64:
    rates = 10_000 ** (-np.arange(SIZE // 2) / (SIZE // 2))
    angles = np.outer(np.arange(SIZE), rates)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def _one_head(rng: np.random.Generator) -> Float64:
    values = rng.standard_normal((SIZE, SIZE))
    values[:16] = rng.standard_normal((16, 2)) @ rng.standard_normal((2, SIZE)) / np.sqrt(2)
    return values


def _low_rank(rng: np.random.Generator) -> Float64:
    return rng.standard_normal((SIZE, 3)) @ rng.standard_normal((3, SIZE))


GALLERY: Mapping[str, Planted] = {
    "fourier basis": Planted(draw=_fourier),
    "hadamard basis": Planted(draw=lambda rng: hadamard(SIZE).astype(float), signs=True),
    "dct basis": Planted(draw=lambda rng: np.asarray(dct(np.eye(SIZE), norm="ortho"))),
    "identity": Planted(draw=lambda rng: np.eye(SIZE), permuted=False),
    "permutation": Planted(draw=lambda rng: np.eye(SIZE)),
    "circulant": Planted(draw=_circulant),
    "toeplitz": Planted(draw=_toeplitz),
    "block diagonal": Planted(draw=_blocks),
    "banded": Planted(draw=_banded),
    "kronecker product": Planted(draw=_kronecker),
    "duplicated rows": Planted(draw=_duplicates),
    "pairs w, -w": Planted(draw=_opposites),
    "two groups of rows": Planted(draw=_groups(2)),
    "eight groups of rows": Planted(draw=_groups(8)),
    "4-bit grid": Planted(draw=_grid(15), noise_free=True),
    "ternary grid": Planted(draw=_grid(3), noise_free=True),
    "half pruned": Planted(draw=_pruned, noise_free=True),
    "sinusoidal positions": Planted(draw=_positions, permuted=False),
    "low rank in one head": Planted(draw=_one_head, signs=True),
    "low rank": Planted(draw=_low_rank, signs=True),
    "fourier basis, places in order": Planted(draw=_fourier, places=True, signs=True),
    "circulant, places in order": Planted(draw=_circulant, places=True),
    "key like its query": Planted(draw=lambda rng: rng.standard_normal((SIZE, SIZE)), is_product=True),
}


def matrix_of(kind: str, strength: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """One matrix of a kind, in noise."""
    planted = GALLERY[kind]
    structure = planted.draw(rng)
    if planted.permuted:
        structure = structure[rng.permutation(SIZE)]
        structure = structure if planted.places else structure[:, rng.permutation(SIZE)]
    if planted.signs:
        structure = structure * rng.choice([-1.0, 1.0], SIZE)[:, None]
        structure = structure if planted.places else structure * rng.choice([-1.0, 1.0], SIZE)
    structure = structure if planted.noise_free else structure / np.sqrt(np.mean(structure**2))
    noise = rng.standard_normal((SIZE, SIZE))
    if planted.noise_free:
        return np.where(rng.random((SIZE, SIZE)) < strength, structure, noise).astype(np.float32)
    return np.asarray(np.sqrt(strength) * structure + np.sqrt(1 - strength) * noise, dtype=np.float32)


def one_repeat(kind: str, strength: float, seed: int) -> tuple[dict[str, float], str]:
    """Statistic -> p of its pooled figure; and the class."""
    rng = np.random.default_rng([seed, list(GALLERY).index(kind), int(1000 * strength)])
    analyse = _analysed_pair if GALLERY[kind].is_product else _analysed
    analyses = [analyse(kind, strength, index, seed, rng) for index in range(MATRICES)]
    found = {}
    for name in dict.fromkeys(item.name for item in analyses[0].measured):
        pooled = pool(analyses, name)
        if pooled is not None and (p := pooled.statistic.p) is not None:
            found[name] = p
    return found, classify(analyses).pattern_class


def _analysed(kind: str, strength: float, index: int, seed: int, rng: np.random.Generator) -> TensorAnalysis:
    planted = GALLERY[kind]
    rows = Axis.HIDDEN if planted.permuted else Axis.POSITION
    cols = Axis.POSITION if planted.places else Axis.RESIDUAL if planted.permuted else rows
    spec = replace(
        _spec(Role.FFN_IN, index), row_axis=rows, col_axis=cols, free_row_signs=planted.signs,
        free_col_signs=planted.signs and not planted.places,
    )  # fmt: skip
    return _analyse(matrix_of(kind, strength, rng), spec, seed)


def _analysed_pair(kind: str, strength: float, index: int, seed: int, rng: np.random.Generator) -> TensorAnalysis:
    """A query, with what it has to do with its key."""
    query = GALLERY[kind].draw(rng).astype(np.float32)
    noise = rng.standard_normal(query.shape)
    key = (np.sqrt(strength) * query + np.sqrt(1 - strength) * noise).astype(np.float32)
    values = {_spec(role, index): own for role, own in ((Role.ATTENTION_QUERY, query), (Role.ATTENTION_KEY, key))}
    own, _ = values
    products = measure_products(
        list(values), lambda spec: [values[spec]], lambda _, draw: np.random.default_rng([seed, index, draw]), NUM_NULLS
    )
    analysis = _analyse(query, own, seed)
    return replace(analysis, measured=(*analysis.measured, *products[own.name]))


def _spec(role: Role, index: int) -> TensorSpec:
    name = f"{index}.{role.value}"
    return TensorSpec(
        name=name, tensor=name, dtype="F32", rows=SIZE, cols=SIZE, role=role, block=index, depth=0.5,
        row_axis=Axis.ATTENTION,
    )  # fmt: skip


def _analyse(matrix: npt.NDArray[np.float32], spec: TensorSpec, seed: int) -> TensorAnalysis:
    canonical = canonicalise(matrix, seriate_tensor(matrix, spec))
    return analyse_tensor(canonical, spec, settings=AnalysisSettings(num_nulls=NUM_NULLS), seed=seed)


def power(kind: str) -> Iterator[dict[str, Any]]:
    """A row for each strength: the share of repeats in which each statistic sees the kind."""
    for strength in STRENGTHS:
        repeats = [one_repeat(kind, strength, seed) for seed in range(REPEATS)]
        names = repeats[0][0]
        shares = {name: float(np.mean([found.get(name, 1.0) <= LEVEL for found, _ in repeats])) for name in names}
        noisy = float(np.mean([pattern_class == "noisy" for _, pattern_class in repeats]))
        yield {"kind": kind, "strength": strength, "shares": shares, "noisy": noisy}


def rows(kinds: Sequence[str], num_processes: int | None) -> list[dict[str, Any]]:
    """For every kind the power curve of each statistic."""
    with ProcessPoolExecutor(num_processes) as processes:
        return [row for found in processes.map(partial(_listed), kinds) for row in found]


def _listed(kind: str) -> list[dict[str, Any]]:
    return list(power(kind))


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """As Markdown: for each kind the smallest strength seen, by which statistics, and the class."""
    lines = ["| structure | seen from | by | also by | class at 1 not noisy |", "|---|---|---|---|---|"]
    for kind in dict.fromkeys(row["kind"] for row in found):
        own = {row["strength"]: row for row in found if row["kind"] == kind}
        seen = {name: [s for s in STRENGTHS if own[s]["shares"][name] >= SEEN] for name in own[1.0]["shares"]}
        best = min((min(strengths) for strengths in seen.values() if strengths), default=None)
        ranked = sorted((name for name in seen if seen[name]), key=lambda name: (min(seen[name]), name))
        first = [name for name in ranked if min(seen[name]) == best]
        num_more = len(ranked) - len(first[:3])
        seen_from = "nothing sees it" if best is None else f"{best}"
        lines.append(
            f"| {kind} | {seen_from} | {', '.join(first[:3])} | {num_more} more | {1 - own[1.0]['noisy']:.0%} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(GALLERY), choices=list(GALLERY), metavar="KIND")
    parser.add_argument("--processes", type=int, help="at a time; one for each core if not given")
    parser.add_argument("--out", metavar="NAME", help="keep the power curves as results/NAME.json")
    options = parser.parse_args()
    found = rows(options.only, options.processes)
    print(table(found))
    if options.out:
        (RESULTS / f"{options.out}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
