"""A tensor or a null of it as a fit sees it: standardised, less the means that its DNA buys, with what is known of it
before anything is trained."""

from dataclasses import dataclass

import numpy as np

from pipeline.additive import AdditiveModel, additive_model
from pipeline.arrays import Float32
from pipeline.decomposition import singular_directions
from pipeline.fit.baselines import Baseline, BeyondMeans, Part, measure_baseline
from pipeline.fit.means import MeanSets, Units, affordable, paying, units_of
from pipeline.order import CanonicalOrder

__all__ = ["Measured", "Moments", "Version", "bought_means", "describe", "moments_of", "outputs_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Of one tensor, in original units."""

    mean: float
    std: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What is known of a tensor or of a null of it before anything is trained."""

    moments: Moments
    units: Units
    """What turns the output of its network into weights."""
    baseline: Baseline
    """What other codes explain of it."""
    additive: Part
    """(numbers, energy) of the means that pay, energy in original units; (0, 0) where none do."""
    order: CanonicalOrder | None = None
    """In which a null was put after it was drawn; None where it stays as it was drawn, and for the tensor itself."""

    @property
    def means_pay(self) -> bool:
        return self.additive[0] > 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Version:
    """A tensor or one of its nulls, as its network is to give it."""

    outputs: Float32
    directions: Float32
    """Leading singular vectors along the shorter axis, one a column, for a separable DNA."""
    measured: Measured

    @property
    def means(self) -> tuple[Float32, Float32]:
        """The row means (R,) and column means (C,) that were bought, in units of the outputs; 0 where not."""
        units, (num_rows, num_cols) = self.measured.units, self.outputs.shape
        rows = np.zeros(num_rows, dtype=np.float32) if units.rows is None else units.rows / np.float32(units.scale)
        cols = np.zeros(num_cols, dtype=np.float32) if units.cols is None else units.cols / np.float32(units.scale)
        return rows, cols


def bought_means(matrix: Float32, allowed: float) -> int:
    """How many means a DNA of this matrix buys."""
    moments, model = moments_of(matrix), additive_model(matrix)
    sets = affordable(paying(model, moments.std**2 * matrix.size), model, allowed)
    return sets.numbers(*matrix.shape)


def outputs_of(matrix: Float32, allowed: float) -> tuple[Float32, float]:
    """What the network of a matrix is to give, standardised, and the scale that it has in original units."""
    moments, model = moments_of(matrix), additive_model(matrix)
    sets = affordable(paying(model, moments.std**2 * matrix.size), model, allowed)
    units = units_of(matrix, sets, moments.mean, moments.std)
    return units.outputs(matrix), units.scale


def describe(matrix: Float32, allowed: float, num_kept: int, order: CanonicalOrder | None = None) -> Version:
    """A canonical matrix with all that is to be known of it: one decomposition, and a second where its means pay.

    - `order`: that of a null, which is noted.
    """
    moments, model = moments_of(matrix), additive_model(matrix)
    pays = paying(model, moments.std**2 * matrix.size)
    bought = affordable(pays, model, allowed)
    units = units_of(matrix, bought, moments.mean, moments.std)
    outputs = units.outputs(matrix)
    centred = outputs if bought.is_empty else _standardise(matrix, moments)
    squares, vectors = singular_directions(centred)
    beyond = None if pays.is_empty else _beyond(matrix, pays, model, moments)
    measured = Measured(
        moments=moments,
        units=units,
        baseline=measure_baseline(centred, moments.std, squares, vectors, beyond),
        additive=(
            pays.numbers(*matrix.shape),
            sum(energy for _, energy in beyond.means) * moments.std**2 if beyond else 0.0,
        ),
        order=order,
    )
    if beyond is not None and not bought.is_empty:
        vectors = beyond.vectors if bought == pays else singular_directions(outputs)[1]
    return Version(outputs=outputs, directions=vectors[:, :num_kept].astype(np.float32), measured=measured)


def _beyond(matrix: Float32, pays: MeanSets, model: AdditiveModel, moments: Moments) -> BeyondMeans:
    """The matrix, standardised, without the means that pay."""
    left = (pays.of(model).residual(matrix) / moments.std).astype(np.float32)
    offers = [(pays.rows, matrix.shape[0], model.row_energy), (pays.cols, matrix.shape[1], model.col_energy)]
    means = [(float(count), energy / moments.std**2) for pays_one, count, energy in offers if pays_one]
    squares, vectors = singular_directions(left)
    return BeyondMeans(
        means=tuple(sorted(means, key=lambda part: -part[1] / part[0])),
        pays_rows=pays.rows,
        pays_cols=pays.cols,
        matrix=left,
        squares=squares,
        vectors=vectors,
    )


def moments_of(matrix: Float32) -> Moments:
    """Mean and population standard deviation, accumulated in float64, and the extremes; a constant has a `std` of 0."""
    low, high = float(matrix.min()), float(matrix.max())
    if low == high:  # Rounding of the mean would leave a spread that is not there.
        return Moments(mean=low, std=0.0, low=low, high=high)
    mean, std = float(matrix.mean(dtype=np.float64)), float(matrix.std(dtype=np.float64))
    return Moments(mean=mean, std=std, low=low, high=high)


def _standardise(matrix: Float32, moment: Moments) -> Float32:
    """Mean 0 and standard deviation 1; a constant tensor becomes 0."""
    return ((matrix - moment.mean) / (moment.std or 1.0)).astype(np.float32)
