"""Baselines: four simple distances between the weights of all models.

Each takes the models' matrices and gives (M, M) float64, inf where two models have nothing to compare. The first two
describe each model by a vector, scaled by the spread of the whole population, which a signature does not use; the last
two compare the weights themselves.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoo.tensors import Axis, Role, TensorSpec

__all__ = ["BASELINES", "Weights", "gram_of_inputs", "moments_by_role", "raw_cosine", "singular_values_by_role"]

Array = npt.NDArray[np.float64]
QUANTILES = (0, 10, 25, 50, 75, 90, 95, 100)
INPUT_ROLES = (Role.TOKEN_EMBEDDING, Role.POSITION_EMBEDDING, Role.PATCH_EMBEDDING, Role.CONVOLUTION)
FIXED_AXES = (Axis.VOCABULARY, Axis.POSITION)
"""Axes whose order is the data's: what a Gram matrix may be indexed by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A model's trained matrices, (rows, cols) in the file's order."""

    specs: tuple[TensorSpec, ...]
    matrices: tuple[npt.NDArray[np.float32], ...]


Baseline = Callable[[Sequence[Weights]], Array]


def moments_by_role(models: Sequence[Weights]) -> Array:
    """Mean, log standard deviation, skewness and kurtosis of all weights of each role."""
    return _by_features([_features(model, _moments) for model in models])


def singular_values_by_role(models: Sequence[Weights]) -> Array:
    """Log quantiles of the singular values of each matrix, averaged over the matrices of each role."""
    return _by_features([_features(model, _log_singular_values) for model in models])


def raw_cosine(models: Sequence[Weights]) -> Array:
    """1 - cosine of the weights of all tensors that agree in name and shape, taken as one vector, in file order."""
    vectors = [
        {(spec.name, matrix.shape): matrix.ravel() for spec, matrix in zip(model.specs, model.matrices, strict=True)}
        for model in models
    ]
    return _one_minus_cosine(vectors)


def gram_of_inputs(models: Sequence[Weights]) -> Array:
    """1 - cosine of the Gram matrices of what reads the input, along the axis that the data orders, rows centred.

    Token and position embeddings and kernels on pixels: E E^T is the same whatever the order or basis of the hidden
    axis. With centring it is the linear CKA (Kornblith et al. 2019); without it all models look alike.
    """
    return _one_minus_cosine([_grams(model) for model in models])


BASELINES: Mapping[str, Baseline] = {
    "moments by role": moments_by_role,
    "singular values by role": singular_values_by_role,
    "raw cosine": raw_cosine,
    "Gram of the inputs": gram_of_inputs,
}


def _features(model: Weights, describe: Callable[[Sequence[Array]], Array]) -> dict[Role, Array]:
    by_role: dict[Role, list[Array]] = defaultdict(list)
    for spec, matrix in zip(model.specs, model.matrices, strict=True):
        by_role[spec.role].append(matrix.astype(np.float64))
    return {role: describe(matrices) for role, matrices in by_role.items()}


def _moments(matrices: Sequence[Array]) -> Array:
    values = np.concatenate([matrix.ravel() for matrix in matrices])
    spread = max(float(values.std()), np.finfo(np.float64).tiny)
    standard = (values - values.mean()) / spread
    squares = standard * standard
    skewness, kurtosis = squares @ standard / len(values), squares @ squares / len(values)
    return np.array([values.mean(), np.log(spread), skewness, np.log(kurtosis)])


def _log_singular_values(matrices: Sequence[Array]) -> Array:
    spectra = [np.linalg.svd(matrix, compute_uv=False) for matrix in matrices]
    # A floor, so that one empty direction of a pruned or rounded matrix does not outweigh all others.
    logs = [np.log(np.maximum(spectrum, 1e-3 * spectrum[0])) for spectrum in spectra]
    return np.mean([np.percentile(log, QUANTILES) for log in logs], axis=0)


def _by_features(models: Sequence[Mapping[Role, Array]]) -> Array:
    """Root mean square difference over the dimensions that both have, each in units of its spread over all models."""
    roles = sorted({role for model in models for role in model})
    widths = {role: len(next(model[role] for model in models if role in model)) for role in roles}
    missing = {role: np.full(widths[role], np.nan) for role in roles}
    values = np.stack([np.concatenate([model.get(role, missing[role]) for role in roles]) for model in models])
    spread = np.nanstd(values, axis=0)
    scaled = (values - np.nanmean(values, axis=0)) / np.where(spread > 0, spread, 1.0)
    return np.stack([_rms(scaled - row) for row in scaled])


def _rms(differences: Array) -> Array:
    """Over what is not missing, row by row; inf where nothing is left."""
    counts = np.isfinite(differences).sum(axis=1)
    sums = np.nansum(differences**2, axis=1)
    return np.sqrt(np.divide(sums, counts, out=np.full(len(sums), np.inf), where=counts > 0))


def _grams(model: Weights) -> dict[tuple[str, tuple[int, ...]], npt.NDArray[np.float32]]:
    grams = {}
    for spec, matrix in zip(model.specs, model.matrices, strict=True):
        if spec.role not in INPUT_ROLES or (spec.row_axis in FIXED_AXES) == (spec.col_axis in FIXED_AXES):
            continue
        rows = matrix if spec.row_axis in FIXED_AXES else matrix.T
        centred = rows - rows.mean(axis=0)
        gram = centred @ centred.T
        grams[spec.name, gram.shape] = (gram / max(float(np.linalg.norm(gram)), 1e-30)).ravel()
    return grams


def _one_minus_cosine(models: Sequence[Mapping[tuple[str, tuple[int, ...]], npt.NDArray[np.float32]]]) -> Array:
    """Over the tensors that each pair shares, concatenated."""
    products = np.zeros((len(models), len(models)))
    squares = np.zeros_like(products)
    for key in {key for model in models for key in model}:
        owners = np.array([index for index, model in enumerate(models) if key in model])
        vectors = np.stack([models[index][key] for index in owners]).astype(np.float64)
        inner = vectors @ vectors.T
        products[np.ix_(owners, owners)] += inner
        squares[np.ix_(owners, owners)] += np.diag(inner)[:, None]
    norms = np.sqrt(squares * squares.T)
    return np.where(norms > 0, 1 - products / np.where(norms > 0, norms, 1.0), np.inf)
