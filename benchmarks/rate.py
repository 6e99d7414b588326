"""How much a DNA holds for its bits: R2 against bits per weight, beside truncated SVD of as many bits and the bound.

    python -m benchmarks.rate             # MiniLM-L6's encoder matrices, three budgets, in canonical and file order
    python -m benchmarks.rate --layers 0 --budgets 0.01 --orders seriated
    python -m benchmarks.rate --page      # what is kept, as the table in docs/fit.md

Each budget is trained once; its weights are then rounded to each width, and so are those of its null. SVD has factors
of 8, 6, 4 and 3 bits, and spends what the DNA's order costs on ranks, bought where they explain most over all tensors.
`best` is the width at which SVD's R2 is largest; `R2` and `gain` behind it are the DNA's over SVD's there, pooled.
SVD's null has the width that is best for it, as in the report of a fit. `free` is what SVD has with the bits of the
networks alone, as if the order cost the DNA nothing. The results also have `ratio`, the median over the tensors of the
DNA's R2 over SVD's, each tensor with its own bits.
Prints the table, writes it to `benchmarks/results/OUT.json`, and draws it to `benchmarks/results/OUT.svg` (by
matplotlib, which the `test` extra brings).
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.parts.scaffold import (
    inner_tensors,
    make_parser,
    read_matrices,
    read_results,
    write_figures,
    write_results,
)
from pipeline.fit.baselines import SVD_WIDTHS, Baseline, explained
from pipeline.fit.report import RatePoint, TensorFit, rate_point, report
from pipeline.fit.sizing import MOMENTS
from pipeline.fit.stage import FitResult, fit
from pipeline.order import CanonicalOrder, canonicalise, raw_order, seriate_tensor
from pipeline.settings import FitSettings, preset
from zoo.tensors import TensorSpec

PAGE = Path(__file__).parents[1] / "docs" / "fit.md"
COMMAND = "python -m benchmarks.rate --page"
PAGE_ROWS = ((0.01, 8), (0.01, 6), (0.01, 4), (0.0025, 8))
"""Budget and bits of a number."""
FULL_WIDTH = 32
WIDTHS = (16, 8, 6, 4)
Float32 = npt.NDArray[np.float32]


def main() -> None:
    """Every order and budget asked for."""
    options = parse()
    if options.page:
        write_figures(PAGE, COMMAND, page_lines(read_results(options.out)["rows"]))
        return
    by_spec = read_matrices(options.model, lambda spec: not options.layers or spec.block in options.layers)
    specs = inner_tensors(by_spec)
    matrices = {spec.name: by_spec[spec] for spec in specs}
    rows: list[dict[str, Any]] = []
    for order in options.orders:
        orders = {s.name: order_of(s, matrices[s.name], order) for s in specs}
        for budget in options.budgets:
            settings = preset(
                "quick",
                budget=budget,
                order=order,
                epochs=options.epochs,
                num_nulls=options.nulls,
                max_parameters=10**9,
            )
            result = fit_all(specs, matrices, orders, settings, options.seed)
            rows += measure(result, settings)
            write(rows, options, len(specs))


def write(rows: Sequence[Mapping[str, Any]], options: argparse.Namespace, num_matrices: int) -> None:
    """What has been measured so far, as JSON and as a figure."""
    path = write_results(options.out, {"options": vars(options), "rows": rows})
    title = f"{options.model}, {num_matrices} encoder matrices: R² against bits per weight"
    draw(rows, title, path.with_suffix(".svg"))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="rate")
    parser.add_argument("--model", default="minilm-l6")
    parser.add_argument("--layers", type=int, nargs="*", help="blocks to take; all when not given")
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.0025, 0.01, 0.045])
    parser.add_argument("--orders", nargs="+", choices=("seriated", "raw"), default=["seriated", "raw"])
    parser.add_argument("--epochs", type=int, default=preset("quick").epochs)
    parser.add_argument("--nulls", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", action="store_true", help="fit nothing: write the table of what is kept")
    return parser.parse_args()


def order_of(spec: TensorSpec, matrix: Float32, order: str) -> CanonicalOrder:
    """The canonical order, or the file's, which costs nothing."""
    if order == "raw":
        return raw_order(spec.rows, spec.cols)
    return seriate_tensor(matrix, spec)


def fit_all(
    specs: Sequence[TensorSpec],
    matrices: Mapping[str, Float32],
    orders: Mapping[str, CanonicalOrder],
    settings: FitSettings,
    seed: int,
) -> FitResult:
    """The fit stage, measured at every width."""
    with tempfile.TemporaryDirectory() as directory:
        result = fit(
            specs,
            lambda spec: canonicalise(matrices[spec.name], orders[spec.name]),
            settings,
            order_bits={name: order.bits for name, order in orders.items()},
            device="cpu",
            seed=seed,
            directory=Path(directory),
            widths=WIDTHS,
        )
    assert result is not None
    return result


def measure(result: FitResult, settings: FitSettings) -> list[dict[str, Any]]:
    """A line for each width, printed, of all tensors and (not printed) of each role."""
    print(f"\n{settings.order} order, budget {settings.budget:.2%}, {result.cost.seconds:.0f} s")
    heading = (
        "".join(f"{f'SVD {width}':>8}{'gain':>7}" for width in SVD_WIDTHS)
        + f"{'best':>5}{'R2':>6}{'gain':>6}{'free':>8}{'gain':>7}"
    )
    print(f"{'width':>5}{'bits/w':>8}{'R2':>8}{'null':>8}{'gain':>8}{heading}{'bound':>8}{'most lost':>10}")
    roles = {item.role for item in result.tensors}
    rows = []
    for role in ("all", *sorted(roles)):
        fits = [item for item in result.tensors if role in ("all", item.role)]
        found = [point_of(fits, width, settings, result) for width in (FULL_WIDTH, *WIDTHS)]
        if role == "all":
            print("\n".join(line(row) for row in found))
        rows += [{"order": settings.order, "budget": settings.budget, "role": role, **row} for row in found]
    return rows


def point_of(fits: Sequence[TensorFit], width: int, settings: FitSettings, result: FitResult) -> dict[str, Any]:
    """The tensors together at one width, beside SVD of as many bits; `most_lost`: a tensor's largest loss of R2."""
    point = at_width(fits, width, settings, result)
    singles = [at_width([fit], width, settings, result) for fit in fits]
    losses = [1 - fit.errors.sse / fit.sst - single.r2 for fit, single in zip(fits, singles, strict=True)]
    row = {"width": width, **asdict(point), "gain": None if point.null_r2 is None else point.r2 - point.null_r2}
    found = {svd_width: svd_r2(fits, svd_width, point.network_bits) for svd_width in SVD_WIDTHS}
    for svd_width, (svd, nulls) in found.items():
        ratios = [
            single.r2 / svd_r2([fit], svd_width, single.network_bits)[0]
            for fit, single in zip(fits, singles, strict=True)
        ]
        row |= {
            f"svd_{svd_width}bit_r2": svd,
            f"svd_{svd_width}bit_gain": svd - mean(nulls),
            f"svd_{svd_width}bit_ratio": float(np.median(ratios)),
        }
    networks = point.network_bits - sum(fit.order_bits for fit in fits)
    best, null = best_of_widths(found)
    free, free_null = best_of_widths({svd_width: svd_r2(fits, svd_width, networks) for svd_width in SVD_WIDTHS})
    pooled = {
        "svd_r2": best,
        "svd_gain": best - null,
        "r2_ratio": row["r2"] / best,
        "svd_free_r2": free,
        "svd_free_gain": free - free_null,
        "order_share": 1 - networks / point.network_bits,
    }
    if row["gain"] is not None:
        pooled["gain_ratio"] = row["gain"] / pooled["svd_gain"]
    best_width = max(SVD_WIDTHS, key=lambda svd_width: found[svd_width][0])
    return row | {"svd_best_width": best_width, **pooled, "most_lost": max(losses)}


def best_of_widths(found: Mapping[int, tuple[float, Sequence[float]]]) -> tuple[float, float]:
    """R2 at SVD's best width, and the mean of the same on the shuffled copies, each of which has its own best one."""
    draws = zip(*(nulls for _, nulls in found.values()), strict=True)
    return max(svd for svd, _ in found.values()), mean([max(draw) for draw in draws])


def at_width(fits: Sequence[TensorFit], width: int, settings: FitSettings, result: FitResult) -> RatePoint:
    """The tensors together at one width; 32 bits is the fit as it was trained."""
    if width < FULL_WIDTH:
        point = rate_point(fits, width)
        assert point is not None
        return point
    record = report(fits, settings, result.cost)
    return RatePoint(
        network_bits=sum(FULL_WIDTH * (fit.parameters - MOMENTS) + fit.order_bits for fit in fits),
        bits_per_weight=record.bits_per_weight,
        r2=record.r2,
        null_r2=record.null_r2,
        ceiling_r2=record.ceiling_r2,
    )


def mean(values: Sequence[float]) -> float:
    """0 of nothing."""
    return float(np.mean(values)) if values else 0.0


def svd_r2(fits: Sequence[TensorFit], width: int, bits: float) -> tuple[float, list[float]]:
    """R2 of truncated SVD with that many bits in all, and the same of each of the shuffled copies."""

    def held(baselines: Sequence[Baseline]) -> float:
        return explained([each.svd_bits[width] for each in baselines], bits) / sum(each.energy for each in baselines)

    nulls = [held(draw) for draw in zip(*(fit.null_baselines for fit in fits), strict=True)]
    return held([fit.baseline for fit in fits]), nulls


def line(row: Mapping[str, Any]) -> str:
    """One line of the table."""
    svd = "".join(f"{row[f'svd_{w}bit_r2']:8.4f}{row[f'svd_{w}bit_gain']:7.4f}" for w in SVD_WIDTHS)
    svd += f"{row['svd_best_width']:5}{row['r2_ratio']:6.2f}{row.get('gain_ratio', 0):6.2f}"
    svd += f"{row['svd_free_r2']:8.4f}{row['svd_free_gain']:7.4f}"
    null = f"{row['null_r2'] or 0:8.4f}{row['gain'] or 0:8.4f}"
    start = f"{row['width']:5}{row['bits_per_weight']:8.4f}{row['r2']:8.4f}{null}"
    return f"{start}{svd}{row['ceiling_r2']:8.4f}{row['most_lost']:10.4f}"


def page_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The table of docs/fit.md: all tensors together."""
    yield (
        "| budget, bits of a number | bits per weight | of them the order | DNA | SVD | SVD without the order | bound "
        "| DNA / SVD |"
    )
    yield "|---" * 8 + "|"
    for budget, width in PAGE_ROWS:
        (own,) = (row for row in rows if (row["role"], row["budget"], row["width"]) == ("all", budget, width))
        pairs = [f"{own[f'{code}r2']:.3f} ({own[f'{code}gain']:.3f})" for code in ("", "svd_", "svd_free_")]
        yield (
            f"| {100 * budget:g} %, {width} | {own['bits_per_weight']:.3f} | {100 * own['order_share']:.0f} % "
            f"| {' | '.join(pairs)} | {own['ceiling_r2']:.3f} | {own['r2_ratio']:.2f} ({own['gain_ratio']:.2f}) |"
        )


def draw(rows: Sequence[Mapping[str, Any]], title: str, path: Path) -> None:
    """The DNA at 32, 8 and 4 bits in each order, its null at 8, SVD at its widths, and the bound; the same bytes
    for the same rows."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    plt.rcParams["svg.hashsalt"] = "rate"
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    every = [row for row in rows if row["role"] == "all"]
    first = every[0]["order"]
    for order in dict.fromkeys(row["order"] for row in every):
        for width in (32, 8, 4) if order == first else (8,):
            mine = [row for row in every if row["order"] == order and row["width"] == width]
            axes.plot(*points(mine, "r2"), marker="o", label=f"DNA, {width} bits, {order}")
    at_8 = [row for row in every if row["order"] == first and row["width"] == 8]
    axes.plot(*points(at_8, "null_r2"), "--", color="grey", label="its null, 8 bits")
    for width in SVD_WIDTHS:
        mine = [row for row in every if row["order"] == first]
        axes.plot(*points(mine, f"svd_{width}bit_r2"), marker=".", label=f"SVD, {width} bits, as many in all")
    axes.plot(*points(every, "ceiling_r2"), "k:", label="bound for Gaussian weights")
    axes.set(xscale="log", xlabel="bits per weight, order included", ylabel="R²", title=title, ylim=(0, 0.7))
    axes.legend(loc="upper left", fontsize="small")
    axes.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def points(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Bits per weight, ascending, and the figure called `name`."""
    found = sorted((row["bits_per_weight"], row[name] or 0.0) for row in rows)
    return [bits for bits, _ in found], [value for _, value in found]


if __name__ == "__main__":
    main()
