"""From weight matrices to a problem: standardise, make the nulls, put both where the network trains."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.decomposition import singular_directions
from pipeline.fit.baselines import Baseline, measure_baseline
from pipeline.fit.pointwise import PointwiseProblem
from pipeline.fit.problem import Problem, axis_coordinates, depth_coordinate, role_coordinate
from pipeline.fit.separable import GridBlock, GridProblem, most_directions
from pipeline.fit.trainer import AUTOCAST
from pipeline.nulls import null_rng, shuffle
from pipeline.order import canonicalise, seriate_tensor
from pipeline.settings import FitSettings
from zoo.tensors import Role, TensorSpec

__all__ = [
    "Loader",
    "Moments",
    "PreparedProblem",
    "draw_null",
    "moments_of",
    "ordinals_of",
    "place_tag",
    "prepare",
    "standardise",
]

Float32 = npt.NDArray[np.float32]
Loader = Callable[[TensorSpec], Float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Of one tensor, in original units."""

    mean: float
    std: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedProblem:
    """A problem, and what the report needs of its tensors: moments, and what other codes explain of each version."""

    problem: Problem
    moments: tuple[Moments, ...]
    baselines: tuple[tuple[Baseline, ...], ...]
    """Tensor -> (its own, null 0's, null 1's, ...)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Version:
    """A tensor or one of its nulls, standardised."""

    matrix: Float32
    directions: Float32
    """Leading singular vectors along the shorter axis, one a column, for a separable DNA."""


def ordinals_of(specs: Sequence[TensorSpec]) -> dict[str, int]:
    """Rank of each tensor's name among those of the same role, block and shape."""
    seen: dict[object, int] = defaultdict(int)
    ordinals = {}
    for spec in sorted(specs, key=lambda item: item.name):
        place = (spec.role, spec.block, spec.rows, spec.cols)
        ordinals[spec.name] = seen[place]
        seen[place] += 1
    return ordinals


def place_tag(spec: TensorSpec, ordinal: int) -> int:
    """A number for the tensor's place in the network, the same whatever its values, name prefix or file order."""
    place = f"{spec.role}|{spec.block}|{spec.rows}|{spec.cols}|{ordinal}"
    return int.from_bytes(hashlib.sha256(place.encode()).digest()[:4], "big")


def prepare(
    specs: Sequence[TensorSpec],
    load: Loader,
    settings: FitSettings,
    *,
    seed: int,
    ordinals: Mapping[str, int],
    device: torch.device,
) -> PreparedProblem:
    """The problem of fitting `specs`: all of one shape with scope `tensor`, sorted by shape with scope `model`.

    With scope `tensor` the slots are the tensors, then their first nulls, then their second; with scope `model`, the
    model, then its nulls.
    """
    is_grid = settings.dna_type == "separable"
    copies: list[list[_Version]] = []
    moments, baselines = [], []
    for spec in specs:
        matrix = load(spec)
        moment = moments_of(matrix)
        nulls = [_null(matrix, spec, settings, seed, ordinals[spec.name], k) for k in range(settings.num_nulls)]
        found = [_describe(standardise(version, moment), moment, is_grid=is_grid) for version in (matrix, *nulls)]
        copies.append([version for version, _ in found])
        baselines.append(tuple(baseline for _, baseline in found))
        moments.append(moment)
    make = _grid if is_grid else _pointwise
    return PreparedProblem(
        problem=make(specs, copies, settings, device), moments=tuple(moments), baselines=tuple(baselines)
    )


def _describe(matrix: Float32, moment: Moments, *, is_grid: bool) -> tuple[_Version, Baseline]:
    """A standardised matrix with what is to be known of it, all from one decomposition."""
    squares, vectors = singular_directions(matrix)
    baseline = measure_baseline(matrix, moment.std, squares, vectors)
    num_kept = most_directions(*matrix.shape) if is_grid else 0
    return _Version(matrix=matrix, directions=vectors[:, :num_kept].astype(np.float32)), baseline


def moments_of(matrix: Float32) -> Moments:
    """Mean and population standard deviation, accumulated in float64, and the extremes; a constant has a `std` of 0."""
    low, high = float(matrix.min()), float(matrix.max())
    if low == high:  # Rounding of the mean would leave a spread that is not there.
        return Moments(mean=low, std=0.0, low=low, high=high)
    mean, std = float(matrix.mean(dtype=np.float64)), float(matrix.std(dtype=np.float64))
    return Moments(mean=mean, std=std, low=low, high=high)


def standardise(matrix: Float32, moment: Moments) -> Float32:
    """Mean 0 and standard deviation 1; a constant tensor becomes 0."""
    return ((matrix - moment.mean) / (moment.std or 1.0)).astype(np.float32)


def draw_null(matrix: Float32, spec: TensorSpec, seed: int, ordinal: int, draw: int) -> Float32:
    """The tensor's own values shuffled."""
    role = list(Role).index(spec.role)
    shape = (spec.rows, spec.cols)
    rng = null_rng("shuffle", draw, seed=seed, role=role, block=spec.block, ordinal=ordinal, shape=shape)
    return shuffle(matrix, rng)


def _null(matrix: Float32, spec: TensorSpec, settings: FitSettings, seed: int, ordinal: int, draw: int) -> Float32:
    """The tensor's own values shuffled, then ordered as the tensor was."""
    shuffled = draw_null(matrix, spec, seed, ordinal, draw)
    if settings.order == "raw":
        return shuffled
    return canonicalise(shuffled, seriate_tensor(shuffled, spec))


def _grid(
    specs: Sequence[TensorSpec], copies: Sequence[Sequence[_Version]], settings: FitSettings, device: torch.device
) -> GridProblem:
    precision = AUTOCAST[settings.precision] or torch.float32
    num_copies = len(copies[0])
    if settings.scope == "tensor":
        slots = [[versions[k]] for k in range(num_copies) for versions in copies]
        block = _block(slots, specs[:1], device, with_place=False)
        movable = tuple((_movable(spec, settings),) for spec in specs) * num_copies
        return GridProblem([replace(block, movable=movable)], precision=precision)
    by_shape: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, spec in enumerate(specs):
        by_shape[spec.rows, spec.cols].append(index)
    blocks = []
    for members in by_shape.values():
        slots = [[copies[i][k] for i in members] for k in range(num_copies)]
        block = _block(slots, [specs[i] for i in members], device, with_place=True)
        flags = tuple(_movable(specs[i], settings) for i in members)
        blocks.append(replace(block, movable=(flags,) * num_copies))
    return GridProblem(blocks, precision=precision)


def _movable(spec: TensorSpec, settings: FitSettings) -> tuple[bool, bool]:
    """Whether the tensor's rows and columns may be moved: they may where seriation may move them."""
    if settings.order == "raw":
        return False, False
    return spec.row_axis.is_permutable, spec.col_axis.is_permutable


def _block(
    slots: Sequence[Sequence[_Version]], specs: Sequence[TensorSpec], device: torch.device, *, with_place: bool
) -> GridBlock:
    values = _stacked([[version.matrix for version in slot] for slot in slots], device)
    directions = _stacked([[version.directions for version in slot] for slot in slots], device)
    axes = []
    for length in values.shape[2:]:
        axis = axis_coordinates(length, values.device)[None, :, None].expand(len(specs), -1, -1)
        if with_place:
            tensor_coords = torch.tensor(
                [[depth_coordinate(s), role_coordinate(s)] for s in specs], device=values.device
            )
            axis = torch.cat([axis, tensor_coords[:, None, :].expand(-1, length, -1)], dim=2)
        axes.append(axis)
    return GridBlock(values=values, row_coords=axes[0], col_coords=axes[1], directions=directions)


def _stacked(arrays: Sequence[Sequence[Float32]], device: torch.device) -> Tensor:
    """Slot by slot, tensor by tensor, (S, G, ...)."""
    return torch.from_numpy(np.stack([np.stack(slot) for slot in arrays])).to(device)


def _pointwise(
    specs: Sequence[TensorSpec], copies: Sequence[Sequence[_Version]], settings: FitSettings, device: torch.device
) -> PointwiseProblem:
    num_copies = len(copies[0])
    if settings.scope == "tensor":
        slots = [versions[k].matrix.ravel() for k in range(num_copies) for versions in copies]
        return PointwiseProblem(torch.from_numpy(np.stack(slots)).to(device), specs[:1], settings, with_place=False)
    slots = [np.concatenate([versions[k].matrix.ravel() for versions in copies]) for k in range(num_copies)]
    return PointwiseProblem(torch.from_numpy(np.stack(slots)).to(device), specs, settings, with_place=True)
