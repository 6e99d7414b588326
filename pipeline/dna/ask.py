"""What a DNA can be asked: which of its functions are alike, where they peak, what they say between the weights."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from scipy.ndimage import maximum_filter

from dna_zoo.errors import SettingsError, UnknownTensorError, did_you_mean
from pipeline.arrays import Float32, Float64
from pipeline.dna.alike import Alike, Relation, compare_functions, layer_pairs, role_pairs
from pipeline.dna.dna import Dna, DnaTensor

__all__ = ["Answers", "Peak", "Place", "ask", "chosen_tensors", "peaks_of", "place_at"]

NEIGHBOURHOOD = 9
"""Rows and columns around a peak in which nothing is larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a DNA says at a place, and what the simplest explanation says there."""

    tensor: str
    row: float
    """Coordinate in [-1, 1] along the rows in the order of the DNA."""
    col: float
    depth: float | None
    """In [0, 1], where another depth than the tensor's own was asked for."""
    value: float
    of_means: float
    """What the means of its rows and columns alone say there."""
    deviations: float
    """(value - of_means) in standard deviations of the function about its means."""
    file_row: int
    """The row of the file whose weight is nearest."""
    file_col: int
    nearest: float
    """The DNA's value at that weight, in the order and with the signs of the DNA."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak(Place):
    """A place where a function is larger in size than all around it."""

    gaussian: float
    """Size in standard deviations that the largest of so many independent Gaussian values has on average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """All that was asked of a DNA; empty where it was not."""

    model: str
    dna: str
    """The DNA in a line."""
    is_shared: bool
    """Whether one network serves all tensors: then their likeness has no null."""
    pairs: tuple[Alike, ...] = ()
    peaks: tuple[Peak, ...] = ()
    places: tuple[Place, ...] = ()


def ask(
    dna: Dna,
    *,
    tensors: str | None = None,
    layers: bool = False,
    roles: bool = False,
    peaks: int = 0,
    at: Sequence[tuple[float, float, float | None]] = (),
    seed: int = 0,
) -> Answers:
    """Ask a DNA.

    - `tensors`: a pattern of names (`*query*`), of which all that follows is asked; all of them unless it is given;
    - `layers`, `roles`: compare one role in any two blocks; query, key and value of each block (`pipeline.dna.alike`);
    - `peaks`: how many places of largest size to name of each tensor;
    - `at`: row and column in [-1, 1], and a depth in [0, 1] or None.

    Raises `UnknownTensorError` where no tensor has such a name, `SettingsError` for a place that there is not.
    """
    chosen = chosen_tensors(dna, tensors)
    wanted: list[tuple[Relation, tuple[DnaTensor, DnaTensor]]] = []
    wanted += [("layers", pair) for pair in layer_pairs(chosen)] if layers else []
    wanted += [("roles", pair) for pair in role_pairs(chosen)] if roles else []
    return Answers(
        model=dna.model,
        dna=repr(dna)[1:-1],
        is_shared=dna.settings.scope == "model",
        pairs=compare_functions(dna, wanted, seed=seed) if wanted else (),
        peaks=tuple(peak for tensor in chosen for peak in peaks_of(tensor, peaks)) if peaks else (),
        places=tuple(place_at(tensor, *place) for tensor in chosen for place in at),
    )


def chosen_tensors(dna: Dna, pattern: str | None) -> tuple[DnaTensor, ...]:
    """The tensors whose name is the pattern, or is like it, in the order of the DNA."""
    if pattern is None:
        return dna.tensors
    if pattern in dna:
        return (dna[pattern],)
    found = tuple(tensor for tensor in dna.tensors if fnmatchcase(tensor.name, pattern))
    if not found:
        raise UnknownTensorError(
            f"No tensor of the DNA has a name like {pattern!r}.",
            hint=did_you_mean(pattern, dna) or f"There are {len(dna)}, the first {next(iter(dna), '')!r}; '*' is all.",
        )
    return found


def peaks_of(tensor: DnaTensor, count: int) -> tuple[Peak, ...]:
    """The places where the canonical function is farthest from what its means say, the farthest first.

    No two are within `NEIGHBOURHOOD` rows and columns. Their size is to be held against `gaussian`: the largest of
    many values is large in noise too.
    """
    values = tensor.canonical().numpy()
    sizes = np.abs(values - _means_of(values))
    tops = np.argwhere((sizes == maximum_filter(sizes, NEIGHBOURHOOD, mode="nearest")) & (sizes > 0))
    ranked = tops[np.argsort(-sizes[tuple(tops.T)], kind="stable")][:count]
    expected = float(np.sqrt(2 * np.log(max(values.size, 2))))
    return tuple(
        Peak(
            **_place(tensor, values, _coordinate(row, 0, tensor), _coordinate(col, 1, tensor), None), gaussian=expected
        )
        for row, col in ranked.tolist()
    )


def place_at(tensor: DnaTensor, row: float, col: float, depth: float | None = None) -> Place:
    """What the tensor says at a place, beside its means and the nearest weight."""
    if not (abs(row) <= 1 and abs(col) <= 1):
        raise SettingsError(
            f"There is no place {row:g},{col:g}.", hint="Give row and column in [-1, 1]: -1 is the first, 1 the last."
        )
    return Place(**_place(tensor, tensor.canonical().numpy(), row, col, depth))


def _place(tensor: DnaTensor, values: Float32, row: float, col: float, depth: float | None) -> dict[str, Any]:
    means = _means_of(values)
    near = tuple(round((place + 1) / 2 * (length - 1)) for place, length in zip((row, col), tensor.shape, strict=True))
    of_means = _between(means, row, col)
    spread = float((values - means).std()) or 1.0
    value = float(tensor.evaluate(row, col, depth))
    return {
        "tensor": tensor.name,
        "row": row,
        "col": col,
        "depth": depth,
        "value": value,
        "of_means": of_means,
        "deviations": (value - of_means) / spread,
        "file_row": int(tensor.order.rows[near[0]]),
        "file_col": int(tensor.order.cols[near[1]]),
        "nearest": float(values[near]),
    }


def _means_of(values: Float32) -> Float64:
    """Of rows and columns of a matrix, added up to a matrix."""
    exact = values.astype(np.float64)
    return np.asarray(exact.mean(axis=1, keepdims=True) + exact.mean(axis=0, keepdims=True) - exact.mean())


def _between(means: Float64, row: float, col: float) -> float:
    """The means at a place between samples, linear along both axes."""
    of_cols = [np.interp(col, np.linspace(-1, 1, means.shape[1]), line) for line in _around(means, row)]
    share = (row + 1) / 2 * (len(means) - 1) % 1
    return float((1 - share) * of_cols[0] + share * of_cols[1])


def _around(means: Float64, row: float) -> Iterable[Float64]:
    first = int((row + 1) / 2 * (len(means) - 1))
    return means[first], means[min(first + 1, len(means) - 1)]


def _coordinate(index: int, axis: int, tensor: DnaTensor) -> float:
    return 2 * index / (tensor.shape[axis] - 1) - 1
