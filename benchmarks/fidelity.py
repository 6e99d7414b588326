r"""How much a DNA holds: kind x scope x order x budget x (R2, null, gain, SVD, SVD's gain, DCT top-k, mean), by role.

    python -m benchmarks.fidelity                          # all matrices of MiniLM-L6, separable at three budgets
    python -m benchmarks.fidelity --layers 0 --kinds separable spectral --budgets 0.01
    python -m benchmarks.fidelity --roles attention_query attention_key --budgets 0.01 \
        --scopes tensor model --orders seriated shared --seeds 0 1 2

`R2/SVD` and `gain/SVD` are medians over the tensors of the ratio to truncated SVD with as many parameters, beside the
floor and the goal for the matrices of the blocks; `pooled` is the ratio of what all tensors of the line hold together,
SVD's ranks going where they pay. With several scopes or orders the paired differences of the gain
follow, with their intervals. Prints the table and writes it as JSON to `benchmarks/results/OUT.json`.
"""

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.parts.scaffold import inner_tensors, make_parser, read_matrices, write_results
from benchmarks.parts.shared_order import shared_orders
from pipeline.fit.report import TensorFit, report
from pipeline.fit.stage import FitResult, fit
from pipeline.nulls import null_rng, ordinals_of, shuffle
from pipeline.order import CanonicalOrder, canonicalise, raw_order, seriate_tensor
from pipeline.settings import FitSettings, preset
from zoo.tensors import Role, TensorSpec

TARGETS = {0.01: (1.15, 1.0, 1.5), 0.045: (1.0, 0.95, 1.25)}
"""Budget -> floor of the median ratio in R2, floor in gain, goal of both."""
RESAMPLES = 10_000
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """One way to fit all tensors."""

    settings: FitSettings
    order: str
    seed: int

    @property
    def name(self) -> str:
        """For the table."""
        settings = self.settings
        return f"{settings.dna_type}, one DNA for each {settings.scope}, {self.order} order, {settings.split} split"


def main() -> None:
    """Every combination asked for."""
    options = parse()
    by_spec = read_matrices(options.model, lambda spec: is_wanted(spec, options))
    specs, matrices = list(by_spec), {spec.name: matrix for spec, matrix in by_spec.items()}
    rows: list[dict[str, Any]] = []
    measured: list[tuple[Setup, Sequence[TensorFit]]] = []
    for setup in setups(options):
        result = fit_all(specs, matrices, setup)
        measured.append((setup, result.tensors))
        rows += table(result, setup, {spec.name for spec in inner_tensors(specs)})
        write_results(options.out, {"options": vars(options), "rows": rows, "comparisons": compare(measured)})
    for line in compare(measured):
        print(
            "\n{budget:.2%}: gain of {other} less that of {base}: {difference:+.4f} [{low:+.4f}, {high:+.4f}]".format(
                **line
            )
        )


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="fidelity")
    parser.add_argument("--model", default="minilm-l6")
    parser.add_argument("--layers", type=int, nargs="*", help="blocks to take; everything when not given")
    parser.add_argument("--roles", nargs="*", help="roles to take; all when not given")
    parser.add_argument("--kinds", nargs="+", default=["separable"])
    parser.add_argument("--scopes", nargs="+", choices=("tensor", "model"), default=["tensor"])
    parser.add_argument("--orders", nargs="+", choices=("raw", "seriated", "shared"), default=["seriated"])
    parser.add_argument("--splits", nargs="+", choices=("even", "gain"), default=["gain"])
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.01, 0.045, 0.005])
    parser.add_argument("--epochs", type=int, default=preset("quick").epochs)
    parser.add_argument("--rank", type=int, help="rank of separable; by the budget when not given")
    parser.add_argument("--bandwidth", type=float, help="frequency of separable, see FitSettings")
    parser.add_argument("--moves", type=int, help="moves of rows and columns, see FitSettings")
    parser.add_argument("--nulls", type=int, default=1)
    parser.add_argument("--max-parameters", type=int, default=30_000, help="of one DNA; only the token embedding's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    return parser.parse_args()


def is_wanted(spec: TensorSpec, options: argparse.Namespace) -> bool:
    """Whether the tensor is among the blocks and roles asked for."""
    in_layers = not options.layers or spec.block in options.layers
    return in_layers and (not options.roles or spec.role.value in options.roles)


def setups(options: argparse.Namespace) -> list[Setup]:
    """Budget x seed x kind x order x scope. A shared order has no moves: they would give every tensor its own."""
    found = []
    for budget, seed, kind, order, scope, split in product(
        options.budgets, options.seeds, options.kinds, options.orders, options.scopes, options.splits
    ):
        settings = preset(
            "quick",
            dna_type=kind,
            scope=scope,
            order="raw" if order == "raw" else "seriated",
            budget=budget,
            split=split,
            epochs=options.epochs if kind == "separable" else None,
            num_nulls=options.nulls,
            num_moves=0 if order == "shared" else options.moves,
            rank=options.rank,
            bandwidth=options.bandwidth,
            max_parameters=options.max_parameters if scope == "tensor" else 10**9,
        )
        found.append(Setup(settings=settings, order=order, seed=seed))
    return found


def fit_all(specs: Sequence[TensorSpec], matrices: Mapping[str, Float32], setup: Setup) -> FitResult:
    """The fit stage with its nulls; a model whose order is shared has nulls that are whole models, ordered alike."""
    if setup.order != "shared":
        orders = {s.name: raw_order(s.rows, s.cols) for s in specs}
        if setup.order == "seriated":
            orders = {s.name: seriate_tensor(matrices[s.name], s) for s in specs}
        return fit_once(specs, matrices, orders, {name: order.bits for name, order in orders.items()}, setup)
    alone = replace(setup, settings=replace(setup.settings, num_nulls=0))
    versions = [matrices] + [shuffled(specs, matrices, setup.seed, k) for k in range(setup.settings.num_nulls)]
    real, *nulls = [fit_once(specs, version, *shared_orders(specs, version), alone) for version in versions]
    tensors = tuple(
        replace(
            item,
            null_errors=tuple(null.tensors[index].errors for null in nulls),
            null_baselines=tuple(null.tensors[index].baseline for null in nulls),
            quantised=(),
        )
        for index, item in enumerate(real.tensors)
    )
    return replace(real, tensors=tensors)


def fit_once(
    specs: Sequence[TensorSpec],
    matrices: Mapping[str, Float32],
    orders: Mapping[str, CanonicalOrder],
    bits: Mapping[str, float],
    setup: Setup,
) -> FitResult:
    """The fit stage."""
    with tempfile.TemporaryDirectory() as directory:
        result = fit(
            specs,
            lambda spec: canonicalise(matrices[spec.name], orders[spec.name]),
            setup.settings,
            order_bits=bits,
            device="cpu",
            seed=setup.seed,
            directory=Path(directory),
        )
    assert result is not None
    return result


def shuffled(specs: Sequence[TensorSpec], matrices: Mapping[str, Float32], seed: int, draw: int) -> dict[str, Float32]:
    """A null of the whole model: every tensor's values shuffled, by the generators that the fit stage uses."""
    ordinals, found = ordinals_of(specs), {}
    for spec in specs:
        place = {"role": list(Role).index(spec.role), "block": spec.block, "ordinal": ordinals[spec.name]}
        rng = null_rng("shuffle", draw, seed=seed, shape=(spec.rows, spec.cols), **place)
        found[spec.name] = shuffle(matrices[spec.name], rng)
    return found


def table(result: FitResult, setup: Setup, inner: set[str]) -> list[dict[str, Any]]:
    """A line a role and one for all in the blocks, printed and returned."""
    settings = setup.settings
    print(
        f"\n{setup.name}, budget {settings.budget:.2%}, {settings.epochs} epochs, seed {setup.seed}, "
        f"{result.cost.seconds:.0f} s"
    )
    print(
        f"{'role':19}{'params':>9}{'R2':>8}{'null':>8}{'gain':>8}{'SVD':>8}{'gain':>8}{'DCT':>8}{'null':>8}{'mean':>6}"
        f"{'R2/SVD':>8}{'gain/SVD':>9}{'pooled':>8}{'gain':>6}"
    )
    groups: dict[str, list[TensorFit]] = defaultdict(list)
    for item in result.tensors:
        groups[item.role].append(item)
    groups["all in blocks"] = [item for item in result.tensors if item.name in inner]
    lines = [line(role, fits, result, setup) for role, fits in groups.items()]
    if settings.budget in TARGETS:
        floor, gain_floor, goal = TARGETS[settings.budget]
        print(f"{'floor':95}{floor:8.2f}{gain_floor:9.2f}\n{'goal':95}{goal:8.2f}{goal:9.2f}")
    return lines


def line(role: str, fits: Sequence[TensorFit], result: FitResult, setup: Setup) -> dict[str, Any]:
    """One line of the table. The mean predictor's R2 is 0 by definition."""
    pooled = report(fits, setup.settings, result.cost)
    singles = [report([item], setup.settings, result.cost) for item in fits]
    ratio = float(np.median([single.r2 / single.svd_r2 for single in singles]))
    gain_ratio = float(np.median([(s.gain or 0.0) / (s.svd_gain or np.nan) for s in singles]))
    pooled_ratio, pooled_gain_ratio = pooled.r2 / pooled.svd_r2, (pooled.gain or 0.0) / (pooled.svd_gain or np.nan)
    print(
        f"{role:19}{pooled.parameters:9,}{pooled.r2:8.4f}{pooled.null_r2 or 0:8.4f}{pooled.gain or 0:8.4f}"
        f"{pooled.svd_r2:8.4f}{pooled.svd_gain or 0:8.4f}{pooled.dct_r2 or 0:8.4f}{pooled.dct_null_r2 or 0:8.4f}"
        f"{0:6.3f}{ratio:8.2f}{gain_ratio:9.2f}{pooled_ratio:8.2f}{pooled_gain_ratio:6.2f}",
        flush=True,
    )
    tensors = [
        {"name": item.name, "r2": s.r2, "null_r2": s.null_r2, "svd_r2": s.svd_r2, "svd_null_r2": s.svd_null_r2}
        for item, s in zip(fits, singles, strict=True)
    ]
    asked = {"budget": setup.settings.budget, "epochs": setup.settings.epochs, "seed": setup.seed}
    ratios = {"r2_ratio_median": ratio, "gain_ratio_median": gain_ratio}
    ratios |= {"r2_ratio_pooled": pooled_ratio, "gain_ratio_pooled": pooled_gain_ratio}
    return {"role": role} | asked | asdict(pooled) | {"order": setup.order} | ratios | {"tensors": tensors}


def compare(measured: Sequence[tuple[Setup, Sequence[TensorFit]]]) -> list[dict[str, Any]]:
    """The gain of every other way less that of the first one, over tensors and seeds, at each budget.

    The tensors' gains are weighted by their weights, so a difference is one of pooled gains. The interval (95 %) comes
    from resampling tensors, all seeds of one together.
    """
    ways: dict[tuple[float, str], dict[int, Sequence[TensorFit]]] = defaultdict(dict)
    for setup, fits in measured:
        ways[setup.settings.budget, setup.name][setup.seed] = fits
    lines = []
    for budget in dict.fromkeys(budget for budget, _ in ways):
        (base, first), *others = [(name, seeds) for (at, name), seeds in ways.items() if at == budget]
        for name, seeds in others:
            shared = sorted(set(first) & set(seeds))
            if shared and first[shared[0]][0].null_errors:
                found = difference([(gains(seeds[seed]), gains(first[seed])) for seed in shared], first[shared[0]])
                lines.append({"budget": budget, "base": base, "other": name, "seeds": shared, **found})
    return lines


def gains(fits: Sequence[TensorFit]) -> npt.NDArray[np.float64]:
    """Sum of squares that each DNA explains beyond what the mean of its nulls does, (tensors,)."""
    return np.array([np.mean([null.sse for null in item.null_errors]) - item.errors.sse for item in fits])


def difference(pairs: Sequence[Any], fits: Sequence[TensorFit]) -> dict[str, float]:
    """Mean over the seeds, with its bootstrap interval over the tensors."""
    deltas = np.mean([other - base for other, base in pairs], axis=0)
    totals = np.array([item.sst for item in fits])
    picks = np.random.default_rng(0).integers(len(deltas), size=(RESAMPLES, len(deltas)))
    draws = deltas[picks].sum(axis=1) / totals[picks].sum(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"difference": float(deltas.sum() / totals.sum()), "low": float(low), "high": float(high)}


if __name__ == "__main__":
    main()
