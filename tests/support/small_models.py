"""Small made-up models for the tests of the analysis: specs, values in file order, and a loader for both."""

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import numpy.typing as npt

from pipeline.analyse.measures.versions import Measures
from pipeline.analyse.stage import ModelAnalysis, analyse_model
from pipeline.order import canonicalise, seriate
from pipeline.settings import AnalysisSettings
from zoo.tensors import Axis, Role, TensorSpec

Float32 = npt.NDArray[np.float32]
Model = Mapping[TensorSpec, Float32]

MATRICES = (
    ("query", Role.ATTENTION_QUERY, 32, 32, Axis.ATTENTION, Axis.RESIDUAL),
    ("value", Role.ATTENTION_VALUE, 32, 32, Axis.ATTENTION, Axis.RESIDUAL),
    ("output", Role.ATTENTION_OUTPUT, 32, 32, Axis.RESIDUAL, Axis.ATTENTION),
    ("ffn.in", Role.FFN_IN, 64, 32, Axis.HIDDEN, Axis.RESIDUAL),
    ("ffn.out", Role.FFN_OUT, 32, 64, Axis.RESIDUAL, Axis.HIDDEN),
)


def matrix_spec(
    name: str,
    rows: int,
    cols: int,
    *,
    role: Role = Role.FFN_IN,
    block: int | None = None,
    depth: float | None = None,
    row_axis: Axis = Axis.HIDDEN,
    col_axis: Axis = Axis.RESIDUAL,
) -> TensorSpec:
    return TensorSpec(
        name=name,
        tensor=name,
        dtype="F32",
        rows=rows,
        cols=cols,
        role=role,
        block=block,
        depth=depth,
        row_axis=row_axis,
        col_axis=col_axis,
    )


def encoder_specs(num_blocks: int = 2) -> list[TensorSpec]:
    specs = [matrix_spec("words", 80, 32, role=Role.TOKEN_EMBEDDING, depth=0.0, row_axis=Axis.VOCABULARY)]
    for block in range(num_blocks):
        place = {"block": block, "depth": (block + 0.5) / num_blocks}
        for name, role, rows, cols, row_axis, col_axis in MATRICES:
            axes = {"row_axis": row_axis, "col_axis": col_axis}
            specs.append(matrix_spec(f"{block}.{name}", rows, cols, role=role, **place, **axes))
        specs.append(matrix_spec(f"{block}.query.bias", 1, 32, role=Role.BIAS, **place))
        specs.append(matrix_spec(f"{block}.norm", 1, 32, role=Role.NORM, **place))
    return specs


def random_model(seed: int, draw: Callable[[np.random.Generator, tuple[int, int]], npt.NDArray[np.floating]]) -> Model:
    rng = np.random.default_rng(seed)
    return {spec: np.asarray(draw(rng, (spec.rows, spec.cols)), dtype=np.float32) for spec in encoder_specs()}


def trained_model(seed: int) -> Model:
    """Stands in for a trained one: every matrix is low-rank with a decaying spectrum, plus noise."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> npt.NDArray[np.floating]:
        rank = min(shape) // 4 + 1
        left, right = rng.normal(size=(shape[0], rank)), rng.normal(size=(rank, shape[1]))
        return 0.1 * (left / np.arange(1, rank + 1)) @ right + 0.05 * rng.normal(size=shape)

    return random_model(seed, draw)


def permuted(model: Model, seed: int) -> Model:
    """A copy that computes the same: tensors that share an axis get the same order and the same free signs along it."""
    rng = np.random.default_rng(seed)
    moves: dict[str, tuple[npt.NDArray[np.intp], Float32]] = {}

    def moved(values: Float32, axis: int, space: str, kind: Axis) -> Float32:
        size = values.shape[axis]
        if space not in moves:
            signs = rng.choice(np.array([-1, 1], dtype=np.float32), size) if kind.is_sign_free else np.ones(size)
            moves[space] = (rng.permutation(size) if kind.is_permutable else np.arange(size), np.float32(signs))
        order, signs = moves[space]
        taken = np.take(values, order, axis=axis)
        return np.asarray(taken * (signs[order][:, None] if axis == 0 else signs[order]), dtype=np.float32)

    copy = {}
    for spec, values in model.items():
        for axis, (space, kind) in enumerate(zip(_spaces(spec), (spec.row_axis, spec.col_axis), strict=True)):
            values = moved(values, axis, space, kind) if space else values
        copy[spec] = values
    return copy


def _spaces(spec: TensorSpec) -> tuple[str, str]:
    """What the rows and the columns run along; empty for one row, and for tokens, whose order means something."""
    block, _, part = spec.name.partition(".")
    inner = {"ffn": f"{block}.ffn", "query": f"{block}.qk", "key": f"{block}.qk"}.get(part.split(".")[0], f"{block}.vo")
    kinds = {Axis.RESIDUAL: "residual", Axis.HIDDEN: inner, Axis.ATTENTION: inner, Axis.VOCABULARY: ""}
    return "" if spec.rows == 1 else kinds[spec.row_axis], inner if spec.role is Role.BIAS else kinds[spec.col_axis]


def shuffled(model: Model, seed: int) -> Model:
    rng = np.random.default_rng(seed)
    return {spec: rng.permutation(values.ravel()).reshape(values.shape) for spec, values in model.items()}


def canonical(values: Float32, spec: TensorSpec) -> Float32:
    if not spec.is_matrix:
        return values
    return canonicalise(values, seriate(values, row_axis=spec.row_axis, col_axis=spec.col_axis))


@cache
def analysed_once(seed: int, num_nulls: int = 2) -> ModelAnalysis:
    """Of `trained_model(seed)`: made once for all tests of a process, which do not change it."""
    return analysed(trained_model(seed), num_nulls=num_nulls)


def analysed(
    model: Model, *, num_nulls: int = 4, seed: int = 0, max_rows: int = 4096, measures: Measures | None = None
) -> ModelAnalysis:
    settings = AnalysisSettings(num_nulls=num_nulls, max_rows=max_rows)
    return analyse_model(
        list(model),
        lambda spec, rows: canonical(model[spec], spec)[rows],
        in_file_order=lambda spec: [model[spec]],
        settings=settings,
        seed=seed,
        measures=measures,
    )
