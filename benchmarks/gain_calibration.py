"""Is the gain of a fit 0 where there is nothing to gain? Its z and its rank among the nulls, on unstructured matrices.

    python -m benchmarks.gain_calibration                            # the table: some minutes of one core
    python -m benchmarks.gain_calibration --out gain-calibration     # and keep it in results/
    python -m benchmarks.gain_calibration --page                     # what is kept, as the table in docs/measurement.md

All matrices of a kind are the tensors of one model, which is fitted as `mine` fits it, with 8 nulls each. R2 of a
matrix is ranked among those of its nulls (p is two-sided), and z is its distance from them. So is R2 of four matrices
together, as a role's is. If R2 and its nulls are 9 normal numbers alike, |z| is at or beyond 2.51 in 5 % and 5.74 in
0.1 % (Student's t with 7 degrees of freedom, times the root of 9/8). Intervals are exact, 95 %.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest
from scipy.stats import t as student

from benchmarks.calibration import MATRICES, POOLED, Float32
from benchmarks.fidelity import Setup, fit_all
from benchmarks.parts.scaffold import make_parser, read_results, write_figures, write_results
from pipeline.analyse.evidence import rank_p
from pipeline.fit.report import TensorFit
from pipeline.settings import FitSettings, preset
from zoo.tensors import Axis, Role, TensorSpec

PAGE = Path(__file__).parents[1] / "docs" / "measurement.md"
COMMAND = "python -m benchmarks.gain_calibration --page"
ROWS = 64
BUDGET = 0.1
"""Of so small a matrix: with a hundredth of its weights no DNA has a rank."""
NULLS = 8
KINDS: Mapping[str, bool] = {"gaussian": False, "heavy-tailed": False, "mean row": True, "mean row and column": True}
"""Kind of matrix (`benchmarks.calibration`) -> whether the gain that should be 0 is that beyond the means."""
RANKS = (2 / 9, 4 / 9)
Z_SHARES = (0.05, 0.001)


def z_at(share: float) -> float:
    """The |z| that so large a share of values is beyond, if they and their nulls are normal and alike."""
    return float(student.isf(share / 2, NULLS - 1)) * math.sqrt(1 + 1 / NULLS)


def fits_of(kind: str, count: int, settings: FitSettings, seed: int) -> Sequence[TensorFit]:
    """So many matrices of a kind, fitted as one model."""
    draw: Callable[[np.random.Generator, int], Float32] = MATRICES[kind][0]
    matrices = {f"matrix.{k}": draw(np.random.default_rng([seed, k]), ROWS) for k in range(count)}
    specs = [
        TensorSpec(
            name=name,
            tensor=name,
            dtype="F32",
            rows=ROWS,
            cols=matrix.shape[1],
            role=Role.FFN_IN,
            block=block,
            depth=(block + 0.5) / count,
            row_axis=Axis.HIDDEN,
            col_axis=Axis.RESIDUAL,
        )
        for block, (name, matrix) in enumerate(matrices.items())
    ]
    return fit_all(specs, matrices, Setup(settings=settings, order="seriated", seed=seed)).tensors


def r2_and_nulls(fits: Sequence[TensorFit], *, keep_means: bool) -> list[float]:
    """R2 of these matrices together, then of each draw of their nulls."""
    value = 1 - sum(fit.errors.sse for fit in fits) / sum(fit.sst for fit in fits)
    draws = zip(*(fit.nulls(keep_means=keep_means) for fit in fits), strict=True)
    nulls = [1 - sum(errors.sse for errors, _ in each) / sum(base.energy for _, base in each) for each in draws]
    return [value, *nulls]


def rows(kind: str, fits: Sequence[TensorFit], *, keep_means: bool) -> Iterator[dict[str, Any]]:
    """A row for single matrices and one for groups of them."""
    for size in (1, POOLED):
        groups = [fits[start : start + size] for start in range(0, len(fits) - size + 1, size)]
        found = np.array([r2_and_nulls(group, keep_means=keep_means) for group in groups])
        gains = found[:, 0] - found[:, 1:].mean(axis=1)
        z = gains / found[:, 1:].std(axis=1, ddof=1)
        p = [rank_p(each[0], each[1:].tolist()) or 1.0 for each in found]
        yield {
            "matrices": kind,
            "null": "means" if keep_means else "shuffle",
            "together": size,
            "n": len(groups),
            "r2": float(found[:, 0].mean()),
            "gain": float(gains.mean()),
            "gain_error": float(gains.std(ddof=1) / math.sqrt(len(gains))),
            "ranks": [share(level, int(np.sum(np.array(p) <= level + 1e-9)), len(groups)) for level in RANKS],
            "z": [share(level, int(np.sum(np.abs(z) >= z_at(level))), len(groups)) for level in Z_SHARES],
        }


def share(level: float, hits: int, count: int) -> dict[str, Any]:
    """How often it was so, beside how often it should be."""
    found = binomtest(hits, count).proportion_ci(0.95)
    return {"level": level, "share": hits / count, "interval": (float(found.low), float(found.high))}


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """As Markdown."""
    heads = [f"p <= {level:.3f}" for level in RANKS] + [
        f"abs(z) >= {z_at(level):.2f} ({level:.1%})" for level in Z_SHARES
    ]
    lines = [f"| matrices | null | together | n | R2 | gain | {' | '.join(heads)} |", "|---" * (6 + len(heads)) + "|"]
    for row in found:
        cells = [
            f"{each['share']:.3f} ({each['interval'][0]:.3f} to {each['interval'][1]:.3f})"
            for each in (*row["ranks"], *row["z"])
        ]
        gain = f"{row['gain']:+.4f} +- {row['gain_error']:.4f}"
        facts = (row["matrices"], row["null"], str(row["together"]), str(row["n"]), f"{row['r2']:.3f}", gain)
        lines.append(f"| {' | '.join((*facts, *cells))} |")
    return "\n".join(lines)


def page_lines(kept: Mapping[str, Any]) -> Sequence[str]:
    """The table of docs/measurement.md: single matrices."""
    return table([row for row in kept["rows"] if row["together"] == 1]).splitlines()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out=None)
    parser.add_argument("--page", action="store_true", help="fit nothing: write the table of what is kept")
    parser.add_argument("--matrices", type=int, default=160, help="of each kind")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--epochs", type=int, default=preset("quick").epochs)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Fit, print, keep."""
    options = parse()
    if options.page:
        write_figures(PAGE, COMMAND, page_lines(read_results("gain-calibration")))
        return
    settings = preset("quick", budget=BUDGET, num_nulls=NULLS, epochs=options.epochs)
    found: list[dict[str, Any]] = []
    for kind in options.kinds:
        fits = fits_of(kind, options.matrices, settings, options.seed)
        found += rows(kind, fits, keep_means=KINDS[kind])
        if options.out:
            write_results(options.out, {"options": vars(options), "budget": BUDGET, "nulls": NULLS, "rows": found})
    print(table(found))


if __name__ == "__main__":
    main()
