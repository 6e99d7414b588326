"""What limits a DNA, from singular values alone: no network is trained.

    python -m benchmarks.limits             # MiniLM-L6's encoder matrices, three draws of the null

Prints, and writes to `benchmarks/results/OUT.json`:

1. What truncated SVD would hold and gain with 1, 1.5, 2, ... times the numbers, as medians over the matrices of the
   ratio to what it holds with the budget: how many numbers a DNA must be worth to reach a ratio.
2. How much is signal: the energy above the null's largest singular value, the signal by the spiked model (singular
   values shrunk as in Gavish and Donoho 2017, the noise level from the median one), and the largest gain of any rank.
3. What the order is worth: its bits for each parameter of the DNA.
4. Whether tensors share directions: SVD of matrices concatenated along an axis they share (their rows or columns
   in common are stored once), against SVD of each alone, with as many numbers in all; the spread is over the nulls.
"""

import argparse
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.parts.scaffold import make_parser, read_matrices, write_results
from pipeline.decomposition import singular_values
from pipeline.fit.baselines import Part, explained
from pipeline.nulls import shuffle
from pipeline.order import seriate_tensor
from zoo.tensors import Axis, Role, TensorSpec

TIMES = (1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0)
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Models = Sequence[Mapping[str, Float32]]
"""The standardised matrices by name, then a shuffled copy of all of them for each draw."""


def main() -> None:
    """All four tables."""
    options = parse()
    by_spec = read_matrices(options.model, lambda spec: spec.block is not None)
    specs, matrices = list(by_spec), {spec.name: standardised(matrix) for spec, matrix in by_spec.items()}
    rng = np.random.default_rng(options.seed)
    nulls = [{name: shuffle(matrix, rng) for name, matrix in matrices.items()} for _ in range(options.nulls)]
    models: Models = [matrices, *nulls]
    spectra = {spec.name: [singular_values(model[spec.name]) ** 2 for model in models] for spec in specs}
    found = {
        "options": vars(options),
        "more_numbers": [more_numbers(specs, spectra, budget) for budget in options.budgets],
        "signal": signal(specs, spectra),
        "order": [order_worth(specs, matrices, budget) for budget in options.budgets],
        "sharing": [sharing(specs, models, budget) for budget in options.budgets],
    }
    write_results(options.out, found)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="limits")
    parser.add_argument("--model", default="minilm-l6")
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.005, 0.01, 0.045])
    parser.add_argument("--nulls", type=int, default=3, help="at least 2")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def standardised(matrix: Float32) -> Float32:
    """Mean 0 and standard deviation 1."""
    return ((matrix - matrix.mean(dtype=np.float64)) / matrix.std(dtype=np.float64)).astype(np.float32)


def more_numbers(
    specs: Sequence[TensorSpec], spectra: Mapping[str, Sequence[Float64]], budget: float
) -> dict[str, Any]:
    """Median ratios of SVD's R2 and gain with `TIMES` the numbers to those with the budget."""
    curves = []
    for spec in specs:
        own, *others = (
            np.array([explained([ranks(spec.rows, spec.cols, e)], t * budget * spec.num_weights) for t in TIMES])
            for e in spectra[spec.name]
        )
        gain = own - np.mean(others, axis=0)
        curves.append((own / own[0], gain / gain[0]))
    r2, gains = np.median(np.array(curves), axis=0)
    print(f"\nSVD with more numbers than {budget:.1%} of the weights, median over {len(specs)} matrices")
    print(f"{'times':8}" + "".join(f"{t:8.2f}" for t in TIMES))
    print(f"{'R2':8}" + "".join(f"{value:8.2f}" for value in r2))
    print(f"{'gain':8}" + "".join(f"{value:8.2f}" for value in gains))
    return {"budget": budget, "times": TIMES, "r2": r2.tolist(), "gain": gains.tolist()}


def ranks(rows: int, cols: int, energies: Float64) -> list[Part]:
    """A matrix's ranks as parts to buy."""
    return [(rows + cols, float(energy)) for energy in energies]


def signal(specs: Sequence[TensorSpec], spectra: Mapping[str, Sequence[Float64]]) -> list[dict[str, Any]]:
    """By role: energy above the null, the signal in it, and the largest gain."""
    by_role: dict[str, list[tuple[float, float, float, float]]] = defaultdict(list)
    for spec in specs:
        own, *others = spectra[spec.name]
        null, total = np.mean(others, axis=0), own.sum()
        above = own > null[0]
        gains = np.cumsum(own - null) / total
        by_role[spec.role.value].append(
            (
                float(np.sum(above)),
                float(own[above].sum() / total),
                float(spiked(own, spec.rows, spec.cols).sum() / total),
                float(gains.max()),
            )
        )
    print(f"\n{'median by role':18}{'ranks above':>12}{'energy':>8}{'signal':>8}{'largest gain':>13}")
    found = []
    for role, rows in by_role.items():
        count, energy, part, gain = np.median(np.array(rows), axis=0).tolist()
        print(f"{role:18}{count:12.0f}{energy:8.3f}{part:8.3f}{gain:13.3f}")
        found.append({"role": role, "ranks": count, "energy": energy, "signal": part, "largest_gain": gain})
    return found


def spiked(energies: Float64, rows: int, cols: int) -> Float64:
    """Squared singular values of the signal behind the observed ones, 0 below the edge of the noise.

    The noise level is the median observed singular value over the median of the Marchenko-Pastur law.
    """
    short, long = sorted((rows, cols))
    beta = short / long
    noise = np.median(energies) / (long * marchenko_pastur_median(beta))
    y = energies / (noise * long)
    inner = np.maximum((y - beta - 1) ** 2 - 4 * beta, 0)
    shrunk = (y - beta - 1 + np.sqrt(inner)) / 2
    return np.where(y > (1 + math.sqrt(beta)) ** 2, shrunk, 0.0) * noise * long


def marchenko_pastur_median(beta: float) -> float:
    """The median of the law of ratio `beta` in (0, 1] and unit variance, by the trapezoidal rule."""
    low, high = (1 - math.sqrt(beta)) ** 2, (1 + math.sqrt(beta)) ** 2
    grid = low + (high - low) * np.linspace(0, 1, 100_001)[1:] ** 2  # Dense where the density may be infinite.
    density = np.sqrt(np.maximum((high - grid) * (grid - low), 0)) / (2 * math.pi * beta * grid)
    mass = np.concatenate([[0.0], np.cumsum(np.diff(grid) * (density[1:] + density[:-1]) / 2)])
    return float(np.interp(mass[-1] / 2, mass, grid))


def order_worth(specs: Sequence[TensorSpec], matrices: Mapping[str, Float32], budget: float) -> dict[str, Any]:
    """Bits of the order for each parameter of the DNA, by shape."""
    found = {}
    for spec in specs:
        shape = f"{spec.rows} x {spec.cols}"
        if shape not in found:
            found[shape] = seriate_tensor(matrices[spec.name], spec).bits / (budget * spec.num_weights)
    print(f"\nbits of the order for each parameter at {budget:.1%}: " + str({k: round(v, 2) for k, v in found.items()}))
    return {"budget": budget, "bits_per_parameter": found}


# Sharing.

READERS = (Role.ATTENTION_QUERY, Role.ATTENTION_KEY, Role.ATTENTION_VALUE, Role.FFN_IN)


def stream_first(spec: TensorSpec, matrix: Float32) -> Float32:
    """With the residual stream along the columns."""
    return matrix if spec.col_axis is Axis.RESIDUAL else matrix.T


GROUPINGS: Mapping[str, Callable[[TensorSpec], object]] = {
    "the readers of a block": lambda spec: (spec.block, spec.role in READERS),
    "all tensors of a block": lambda spec: spec.block,
    "the readers of all blocks": lambda spec: spec.role in READERS,
    "one role over all blocks": lambda spec: spec.role,
    "all tensors of the model": lambda spec: 0,
}
"""What has the residual stream in common, and stores its directions once."""


def sharing(specs: Sequence[TensorSpec], models: Models, budget: float) -> dict[str, Any]:
    """R2 and gain of SVD with shared directions less those of SVD of each tensor alone."""
    print(
        f"\nSVD with shared directions of the residual stream, {budget:.1%}: gain, less that of each tensor alone, sd"
    )
    alone = pooled(specs, models, lambda spec: spec.name, budget)
    print(f"{'each tensor alone':28}{alone.mean():8.4f}")
    found = {}
    for name, key in GROUPINGS.items():
        gains = pooled(specs, models, key, budget)
        less, spread = float((gains - alone).mean()), float((gains - alone).std(ddof=1))
        print(f"{name:28}{gains.mean():8.4f}{less:+9.4f}{spread:8.4f}")
        found[name] = {"gain": float(gains.mean()), "difference": less, "std": spread}
    return {"budget": budget, "alone": float(alone.mean()), "shared": found}


def pooled(specs: Sequence[TensorSpec], models: Models, key: Callable[[TensorSpec], object], budget: float) -> Float64:
    """The gain over each null, R2 pooled over all tensors, (nulls,)."""
    weights = sum(spec.num_weights for spec in specs)
    groups: dict[object, list[TensorSpec]] = defaultdict(list)
    for spec in specs:
        groups[key(spec)].append(spec)
    held = []
    for model in models:
        curves = []
        for members in groups.values():
            together = np.concatenate([stream_first(spec, model[spec.name]) for spec in members])
            curves.append(ranks(*together.shape, singular_values(together) ** 2))
        held.append(explained(curves, budget * weights) / weights)
    return held[0] - np.array(held[1:])


if __name__ == "__main__":
    main()
