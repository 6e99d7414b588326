"""How the parameters of a model are shared out over its tensors.

By weights alone, every tensor gets the same share, whether it has anything to hold or not. Here a share goes where it
is forecast to gain. What a separable DNA of rank K holds of a tensor is roughly a fixed part of what the K leading
singular directions hold (mostly 0.6 to 0.95 of it, over sizes and models), so the spectra say, before anything is
trained, how much more a larger network would hold.

The forecast of a tensor is the range of what it and its nulls have in their leading directions. It does not change when
the tensor and a null are exchanged, so value and nulls stay exchangeable where the null holds: tensors with a lucky
spectrum are not favoured. A tensor and its nulls have networks of one size.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from pipeline.arrays import Float32, Float64
from pipeline.decomposition import singular_values
from pipeline.fit.networks import separable_parameters
from pipeline.fit.prepare import Loader, allowance_of, draw_null
from pipeline.fit.sizing import choose_size
from pipeline.fit.slots import FIT_NULLS
from pipeline.fit.versions import outputs_of
from pipeline.settings import FitSettings
from zoo.tensors import TensorSpec

__all__ = ["LEVELS", "split_budget"]

_Point = tuple[int, float, float]
"""(parameters, range of squares held, level)."""
LEVELS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Multiples of the even share that a tensor may have. Few, so that tensors of one shape still train together. None is
0: that a tensor has nothing to hold is for its fit to say."""


def split_budget(
    specs: Sequence[TensorSpec],
    load: Loader,
    settings: FitSettings,
    *,
    seed: int,
    ordinals: Mapping[str, int],
    bought: Mapping[str, int],
) -> dict[str, float]:
    """The share of each matrix, by name, as a multiple of the even one; never more parameters in all than evenly.

    Tensors inside the blocks share theirs, and the others theirs: what the blocks have does not depend on the size of a
    vocabulary.

    - `bought`: how many means the DNA of each tensor buys, by name.
    """
    found: dict[str, float] = {}
    for is_inside in (True, False):
        pool = [spec for spec in specs if (spec.block is not None) == is_inside]
        curves = {
            spec.name: _forecast(spec, load, settings, seed, ordinals[spec.name], bought[spec.name]) for spec in pool
        }
        even = sum(_point(spec, settings, 1.0, bought[spec.name])[0] for spec in pool)
        found |= _spend(curves, even)
    return found


def _forecast(
    spec: TensorSpec, load: Loader, settings: FitSettings, seed: int, ordinal: int, spent: int
) -> list[_Point]:
    """A point for every size that the tensor's networks may have, smallest first."""
    matrix, allowed = load(spec), allowance_of(spec, [spec], settings)
    # What is beyond the means is compared with a null that keeps them.
    kind = FIT_NULLS[1] if spent else FIT_NULLS[0]
    nulls = (draw_null(matrix, spec, seed, ordinal, kind, k) for k in range(settings.num_nulls))
    held = np.stack([_held(outputs_of(version, allowed)) for version in (matrix, *nulls)])
    ranges = np.ptp(held, axis=0) if settings.num_nulls else held[0]
    sizes = {}
    for level in reversed(LEVELS):  # Of equal sizes the lowest level stays.
        parameters, rank = _point(spec, settings, level, spent)
        sizes[parameters] = float(ranges[rank - 1]), level
    return [(parameters, *found) for parameters, found in sorted(sizes.items())]


def _held(outputs: tuple[Float32, float]) -> Float64:
    """The squares in 1, 2, ... leading singular directions of what a network is to give, in original units."""
    standardised, scale = outputs
    return np.asarray(np.cumsum(singular_values(standardised) ** 2) * scale**2, dtype=np.float64)


def _point(spec: TensorSpec, settings: FitSettings, level: float, spent: int) -> tuple[int, int]:
    """Parameters and rank of the tensor's DNA at that level, beside the means it has bought."""
    shortest = min(spec.rows, spec.cols)
    size = choose_size(
        settings, num_weights=spec.num_weights, shortest_axis=shortest, in_dim=1, level=level, spent=spent
    )
    parameters = 2 * separable_parameters(1, **asdict(size))
    return parameters, min(size.rank, shortest)


def _spend(curves: Mapping[str, Sequence[_Point]], budget: int) -> dict[str, float]:
    """The level of each tensor: from the smallest on, always the step with the most squares a parameter that fits."""
    at = dict.fromkeys(curves, 0)
    left = budget - sum(curve[0][0] for curve in curves.values())
    steps: list[tuple[float, str, int]] = []

    def push(name: str) -> None:
        here, *larger = curves[name][at[name] :]
        fitting = [(_slope(here, point), index) for index, point in enumerate(larger, at[name] + 1)]
        fitting = [(slope, index) for slope, index in fitting if slope > 0 and _price(name, index) <= left]
        if fitting:
            slope, index = max(fitting)
            heapq.heappush(steps, (-slope, name, index))

    def _price(name: str, index: int) -> int:
        return curves[name][index][0] - curves[name][at[name]][0]

    for name in curves:
        push(name)
    while steps:
        _, name, index = heapq.heappop(steps)
        if _price(name, index) <= left:
            left -= _price(name, index)
            at[name] = index
        push(name)  # The next step, or a smaller one where less was left than this took.
    return {name: curves[name][index][2] for name, index in at.items()}


def _slope(before: _Point, after: _Point) -> float:
    return (after[1] - before[1]) / (after[0] - before[0])
