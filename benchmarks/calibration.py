"""Is p right? The distribution of p where the null holds, for matrices that have no structure of the kind tested.

    python -m benchmarks.calibration                     # the tables (some minutes of one core)
    python -m benchmarks.calibration --repeats 2000      # narrower intervals
    python -m benchmarks.calibration --out calibration   # and keep them in results/, with a figure
    python -m benchmarks.calibration --page              # what is kept, as the table in docs/measurement.md

For each kind of matrix and each statistic: the share of p-values at or below a level, with its exact 95 % interval
(Clopper and Pearson 1934). A share whose interval lies above its level is marked: there p is too small. Not every kind
of matrix is a null of every statistic: a mean row is structure to a null that shuffles, and is not to one that keeps it
(`MEANT`). Pooled figures are means over matrices, as those of a role are.
"""

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from benchmarks.parts.scaffold import read_results, write_figures
from pipeline.analyse.aggregation import Measured, TensorAnalysis, pool
from pipeline.analyse.statistics.products import measure_products
from pipeline.analyse.tensor import analyse_tensor
from pipeline.order import canonicalise, seriate_tensor
from pipeline.settings import AnalysisSettings
from zoo.tensors import Axis, Role, TensorSpec

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "measurement.md"
COMMAND = "python -m benchmarks.calibration --page"
ROWS, COLS, SAMPLED = 48, 32, 160
POOLED = 4
"""Matrices in a pooled figure."""
LEVELS = {"single": (2 / 9, 4 / 9), "pooled": (0.01, 0.05, 0.2)}
"""One matrix with 8 draws has no other p below these."""
FRACTIONS = {2 / 9: "2/9", 4 / 9: "4/9"}
GRID = np.linspace(0, 1, 201)
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
Float32 = npt.NDArray[np.float32]


def _gaussian(rng: np.random.Generator, rows: int) -> Float32:
    return rng.standard_normal((rows, COLS)).astype(np.float32)


def _heavy_tailed(rng: np.random.Generator, rows: int) -> Float32:
    return rng.standard_t(3, (rows, COLS)).astype(np.float32)


def _mean_row(rng: np.random.Generator, rows: int) -> Float32:
    return (_gaussian(rng, rows) + 2 * rng.standard_normal(COLS)).astype(np.float32)


def _mean_row_and_column(rng: np.random.Generator, rows: int) -> Float32:
    return (_mean_row(rng, rows) + 2 * rng.standard_normal((rows, 1))).astype(np.float32)


def _scaled_columns(rng: np.random.Generator, rows: int) -> Float32:
    return (_gaussian(rng, rows) * np.exp(rng.standard_normal(COLS))).astype(np.float32)


MATRICES: Mapping[str, tuple[Callable[[np.random.Generator, int], Float32], int]] = {
    "gaussian": (_gaussian, ROWS),
    "heavy-tailed": (_heavy_tailed, ROWS),
    "mean row": (_mean_row, ROWS),
    "mean row and column": (_mean_row_and_column, ROWS),
    "scaled columns": (_scaled_columns, ROWS),
    "sampled": (_gaussian, SAMPLED),
    "free signs": (_gaussian, ROWS),
    "places": (_gaussian, ROWS),
    "two factors": (_gaussian, COLS),
}
"""Kind -> how to draw it, and its rows; `sampled` has more rows than are analysed."""
AXES: Mapping[str, Mapping[str, Any]] = {
    "free signs": {"row_axis": Axis.ATTENTION, "free_col_signs": True},
    "places": {"col_axis": Axis.POSITION},
    "two factors": {"role": Role.ATTENTION_QUERY, "row_axis": Axis.ATTENTION},
}
"""Kind -> what is special about its symmetries: signs that an order sets, columns that are places, a query that has a
key of its own."""
MEANT: Mapping[str, tuple[str, ...]] = {
    "gaussian": ("shuffle", "means", "rotate", "gaussian"),
    "heavy-tailed": ("shuffle", "means"),
    "mean row": ("means", "rotate"),
    "mean row and column": ("means",),
    "scaled columns": (),
    "sampled": ("shuffle", "means", "rotate", "gaussian"),
    "free signs": ("shuffle", "means", "rotate", "gaussian"),
    "places": ("shuffle", "means", "rotate", "gaussian", "reorder"),
    "two factors": ("shuffle", "means", "rotate", "gaussian", "reorder"),
}
"""Kind -> the nulls that hold for it. Where none is named, the table shows what a null does that does not hold."""


def _spec(index: int, rows: int, kind: str) -> TensorSpec:
    plain = TensorSpec(
        name=f"{index}.matrix", tensor=f"{index}.matrix", dtype="F32", rows=rows, cols=COLS, role=Role.FFN_IN,
        block=index, depth=0.5, row_axis=Axis.HIDDEN, col_axis=Axis.RESIDUAL,
    )  # fmt: skip
    return replace(plain, **AXES.get(kind, {}))


def _beside_a_key(query: Float32, spec: TensorSpec, key: Float32, num_nulls: int, seed: int) -> list[Measured]:
    """What a query has to do with a key."""
    values = {spec: query, replace(spec, name=f"{spec.block}.key", tensor="key", role=Role.ATTENTION_KEY): key}

    def rng_of(spec: TensorSpec, draw: int) -> np.random.Generator:
        return np.random.default_rng([seed, spec.block or 0, draw])

    return measure_products(list(values), lambda each: [values[each]], rng_of, num_nulls)[spec.name]


def one_repeat(kind: str, num_nulls: int, seed: int) -> dict[tuple[str, str, str], float]:
    """(null, statistic, single or pooled) -> p, of `POOLED` matrices of a kind."""
    draw, rows = MATRICES[kind]
    rng = np.random.default_rng([seed, list(MATRICES).index(kind)])
    settings = AnalysisSettings(num_nulls=num_nulls, max_rows=ROWS)
    analyses: list[TensorAnalysis] = []
    for index in range(POOLED):
        spec, matrix = _spec(index, rows, kind), draw(rng, rows)
        canonical = canonicalise(matrix, seriate_tensor(matrix, spec))
        found = analyse_tensor(canonical, spec, settings=settings, seed=seed)
        if spec.role is Role.ATTENTION_QUERY:
            products = _beside_a_key(matrix, spec, draw(rng, rows), num_nulls, seed)
            found = replace(found, measured=(*found.measured, *products))
        analyses.append(found)
    p_values = {}
    for item in analyses[0].measured:
        pooled = pool(analyses, item.name)
        for name, statistic in (("single", item.statistic), ("pooled", pooled.statistic if pooled else None)):
            if statistic is not None and statistic.p is not None:
                p_values[str(item.kind), item.name, name] = statistic.p
    return p_values


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How often p was at or below a level."""

    level: float
    hits: int
    repeats: int

    @property
    def interval(self) -> tuple[float, float]:
        """Exact, 95 %."""
        found = binomtest(self.hits, self.repeats).proportion_ci(0.95)
        return float(found.low), float(found.high)

    @property
    def is_too_often(self) -> bool:
        """Whether the interval lies above the level."""
        return self.interval[0] > self.level


def shares(p_values: Sequence[float], levels: Sequence[float]) -> list[Share]:
    """Of one figure."""
    return [Share(level=a, hits=sum(p <= a + 1e-9 for p in p_values), repeats=len(p_values)) for a in levels]


def measure(
    kinds: Sequence[str], repeats: int, num_nulls: int, num_processes: int | None = None
) -> dict[str, dict[tuple[str, str, str], list[float]]]:
    """Kind -> figure -> its p-values."""
    found: dict[str, dict[tuple[str, str, str], list[float]]] = {}
    with ProcessPoolExecutor(num_processes) as pool_of_processes:
        for kind in kinds:
            own = found.setdefault(kind, defaultdict(list))
            for each in pool_of_processes.map(partial(one_repeat, kind, num_nulls), range(repeats), chunksize=8):
                for figure, p in each.items():
                    own[figure].append(p)
    return found


def rows(found: Mapping[str, Mapping[tuple[str, str, str], Sequence[float]]]) -> Iterator[dict[str, Any]]:
    """A row for each kind, null and single or pooled: all its statistics together, and the worst of them."""
    for kind, figures in found.items():
        for null in dict.fromkeys(of for of, _, _ in figures):
            for size, levels in LEVELS.items():
                own = {name: p for (of, name, which), p in figures.items() if (of, which) == (null, size)}
                for index, level in enumerate(levels):
                    each = {name: shares(p, levels)[index] for name, p in own.items()}
                    worst = max(each, key=lambda name: each[name].hits / each[name].repeats)
                    hits, total = sum(s.hits for s in each.values()), sum(s.repeats for s in each.values())
                    yield {
                        "matrices": kind,
                        "null": null,
                        "holds": null in MEANT[kind],
                        "figure": size,
                        "level": level,
                        "share": hits / total,
                        "worst": worst,
                        "worst_share": each[worst].hits / each[worst].repeats,
                        "worst_interval": each[worst].interval,
                        "too_often": sum(s.is_too_often for s in each.values()),
                        "statistics": len(each),
                    }


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """As Markdown."""
    names = (
        "matrices",
        "null",
        "holds",
        "figure",
        "level",
        "share at or below",
        "worst",
        "its share (95 %)",
        "too often",
    )
    text = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    for line in lines:
        low, high = line["worst_interval"]
        text.append(
            f"| {line['matrices']} | {line['null']} | {'yes' if line['holds'] else 'no'} | {line['figure']} "
            f"| {line['level']:.3f} | {line['share']:.3f} | {line['worst']} "
            f"| {line['worst_share']:.3f} ({low:.3f} to {high:.3f}) | {line['too_often']} of {line['statistics']} |"
        )
    return "\n".join(text)


def page_lines(kept: Mapping[str, Any]) -> Iterator[str]:
    """The table of docs/measurement.md: for each null the lowest and the highest share over the kinds it holds for."""
    held = [row for row in kept["rows"] if row["holds"]]
    columns = [(figure, level) for figure, levels in LEVELS.items() for level in levels]
    names = [f"{FRACTIONS.get(level, format(level, 'g'))}, {figure}" for figure, level in columns]
    yield f"| null | statistics | {' | '.join(names)} |"
    yield "|---" * (2 + len(columns)) + "|"
    for null in dict.fromkeys(row["null"] for row in held):
        own = [row for row in held if row["null"] == null]
        cells = [
            _range([row["share"] for row in own if row["figure"] == figure and math.isclose(row["level"], level)])
            for figure, level in columns
        ]
        yield f"| `{null}` | {max(row['statistics'] for row in own)} | {' | '.join(cells)} |"
    too_often, total = (sum(row[name] for row in held) for name in ("too_often", "statistics"))
    yield ""
    yield (
        f"{kept['repeats']} repeats, {kept['nulls']} nulls. Of {total:,} shares of one statistic {too_often} lie above"
        f" their level beyond a 95 % interval, where chance gives up to {0.025 * total:.0f}."
    )


def _range(shares_of_kinds: Sequence[float]) -> str:
    low, high = f"{min(shares_of_kinds):.3f}", f"{max(shares_of_kinds):.3f}"
    return low if low == high else f"{low}-{high}"


def curves(found: Mapping[str, Mapping[tuple[str, str, str], Sequence[float]]]) -> dict[str, list[float]]:
    """Kind and null that holds -> the share of pooled p-values at or below each of `GRID`."""
    drawn = {}
    for kind, figures in found.items():
        for null in MEANT[kind]:
            own = [p for (of, _, which), each in figures.items() if (of, which) == (null, "pooled") for p in each]
            places = np.searchsorted(np.sort(own), GRID + 1e-9, side="right")
            drawn[f"{kind}, {null}"] = np.round(places / len(own), 4).tolist()
    return drawn


def figure(drawn: Mapping[str, Sequence[float]], path: Path) -> None:
    """The distribution of the pooled p-values against uniform."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "calibration"
    from matplotlib import pyplot as plt

    chart, axes = plt.subplots(figsize=(5.5, 4.0), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.5", linewidth=3, alpha=0.5, label="uniform")
    styles = ("-", "--", ":", "-.")
    for number, (label, shares_of_p) in enumerate(drawn.items()):
        colour = OKABE_ITO[number % len(OKABE_ITO)]
        axes.plot(GRID, shares_of_p, styles[number // 2 % 4], color=colour, linewidth=1.2, label=label)
    axes.set(xlabel="p of a figure pooled over 4 matrices", ylabel="share of p at or below", xlim=(0, 1), ylim=(0, 1))
    axes.legend(fontsize=8, frameon=False)
    chart.savefig(path, metadata={"Date": None, "Creator": None} if path.suffix == ".svg" else None)
    plt.close(chart)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=400, help="models of each kind (default: 400)")
    parser.add_argument("--nulls", type=int, default=8)
    parser.add_argument("--kinds", nargs="*", default=list(MATRICES), choices=list(MATRICES))
    parser.add_argument("--processes", type=int, help="at a time; one for each core if not given")
    parser.add_argument("--out", metavar="NAME", help="keep the table as results/NAME.json and the figure beside it")
    parser.add_argument("--page", action="store_true", help="measure nothing: write the table of what is kept")
    options = parser.parse_args()
    if options.page:
        write_figures(PAGE, COMMAND, page_lines(read_results("calibration")))
        return
    found = measure(options.kinds, options.repeats, options.nulls, options.processes)
    lines = list(rows(found))
    print(table(lines))
    if options.out:
        data = {"repeats": options.repeats, "nulls": options.nulls, "rows": lines, "curves": curves(found)}
        (RESULTS / f"{options.out}.json").write_text(json.dumps(data, indent=1) + "\n")
        figure(curves(found), RESULTS / f"{options.out}.svg")


if __name__ == "__main__":
    main()
