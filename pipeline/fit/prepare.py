"""From weight matrices to a problem: standardise, make the nulls, put both where the network trains."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pipeline.arrays import Float32
from pipeline.fit.means import allowance
from pipeline.fit.pointwise import PointwiseProblem
from pipeline.fit.problem import Problem, axis_coordinates, depth_coordinate, role_coordinate
from pipeline.fit.separable import GridBlock, GridProblem, most_directions
from pipeline.fit.slots import FIT_NULLS, Slot, slots_of
from pipeline.fit.trainer import AUTOCAST
from pipeline.fit.versions import Measured, Moments, Version, describe
from pipeline.nulls import NullKind, NullModel, null_rng, place_of, shuffle
from pipeline.nulls import means as keep_means
from pipeline.order import CanonicalOrder, canonicalise, seriate_tensor
from pipeline.settings import FitSettings
from zoo.tensors import TensorSpec

__all__ = [
    "Loader",
    "PreparedProblem",
    "allowance_of",
    "draw_null",
    "place_tag",
    "prepare",
]

Loader = Callable[[TensorSpec], Float32]
DRAWN_BY: Mapping[NullKind, NullModel] = {"shuffle": shuffle, "means": keep_means}


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedProblem:
    """A problem, and what is known of what it trains: `measured[slot][part]`."""

    problem: Problem
    slots: tuple[Slot, ...]
    measured: tuple[tuple[Measured, ...], ...]

    @property
    def tensors(self) -> tuple[Measured, ...]:
        """The tensors themselves, in the order in which they were given."""
        return tuple(
            each for slot, row in zip(self.slots, self.measured, strict=True) for each in row if slot.kind is None
        )

    @property
    def moments(self) -> tuple[Moments, ...]:
        """Of the tensors themselves."""
        return tuple(each.moments for each in self.tensors)

    def versions_of(self, index: int, kind: NullKind | None) -> list[tuple[int, Measured]]:
        """The slots of one tensor's draws of a null, or of the tensor itself, and what is known of each."""
        return [
            (number, row[slot.tensors.index(index)])
            for number, (slot, row) in enumerate(zip(self.slots, self.measured, strict=True))
            if slot.kind == kind and index in slot.tensors
        ]


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

    Its slots are those of `slots_of`. Every version of a tensor, itself or a null, is treated alike: it has moments,
    paying means and baselines of its own.
    """
    versions = [_versions(spec, load(spec), settings, seed, ordinals[spec.name], specs) for spec in specs]
    slots = slots_of([by_draw[None, 0].measured.means_pay for by_draw in versions], settings)
    copies = [[_version_of(versions[index], slot) for index in slot.tensors] for slot in slots]
    make = _grid if settings.dna_type == "separable" else _pointwise
    return PreparedProblem(
        problem=make(specs, slots, copies, settings, device),
        slots=slots,
        measured=tuple(tuple(version.measured for version in row) for row in copies),
    )


_ByDraw = Mapping[tuple[NullKind | None, int], Version]
"""A tensor, (None, 0), and the draws of its nulls."""


def _versions(
    spec: TensorSpec, matrix: Float32, settings: FitSettings, seed: int, ordinal: int, together: Sequence[TensorSpec]
) -> _ByDraw:
    """The tensor and its nulls; `together`: what trains with it."""
    allowed = allowance_of(spec, together, settings)
    num_kept = most_directions(*matrix.shape) if settings.dna_type == "separable" else 0
    found: dict[tuple[NullKind | None, int], Version] = {(None, 0): describe(matrix, allowed, num_kept)}
    kinds = FIT_NULLS if found[None, 0].measured.means_pay else FIT_NULLS[:1]
    for kind in kinds:
        for draw in range(settings.num_nulls):
            null, order = _null(matrix, spec, settings, seed, ordinal, kind, draw)
            found[kind, draw] = describe(null, allowed, num_kept, order)
    return found


def _version_of(by_draw: _ByDraw, slot: Slot) -> Version:
    """What stands for a tensor in a slot; where no means pay, a null that keeps them is a shuffle."""
    return by_draw.get((slot.kind, slot.draw)) or by_draw[FIT_NULLS[0], slot.draw]


def allowance_of(spec: TensorSpec, together: Sequence[TensorSpec], settings: FitSettings) -> float:
    """Numbers that the tensor's means may take, among the tensors that train together."""
    sharing = together if settings.scope == "model" else [spec]
    return allowance(settings, spec.num_weights, sum(each.num_weights for each in sharing))


def draw_null(matrix: Float32, spec: TensorSpec, seed: int, ordinal: int, kind: NullKind, draw: int) -> Float32:
    """A draw of a null of the tensor, in no order yet."""
    return DRAWN_BY[kind](matrix, null_rng(kind, draw, seed=seed, **place_of(spec, ordinal)))


def _null(
    matrix: Float32, spec: TensorSpec, settings: FitSettings, seed: int, ordinal: int, kind: NullKind, draw: int
) -> tuple[Float32, CanonicalOrder | None]:
    """A draw of a null of the tensor, then ordered as the tensor was, and its order."""
    drawn = draw_null(matrix, spec, seed, ordinal, kind, draw)
    if settings.order == "raw":
        return drawn, None
    order = seriate_tensor(drawn, spec)
    return canonicalise(drawn, order), order


def _grid(
    specs: Sequence[TensorSpec],
    slots: Sequence[Slot],
    copies: Sequence[Sequence[Version]],
    settings: FitSettings,
    device: torch.device,
) -> GridProblem:
    precision = AUTOCAST[settings.precision] or torch.float32
    if settings.scope == "tensor":
        block = _block(copies, specs[:1], device, with_place=False)
        movable = tuple((_movable(specs[slot.tensors[0]], settings),) for slot in slots)
        return GridProblem([replace(block, movable=movable)], precision=precision)
    by_shape: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, spec in enumerate(specs):
        by_shape[spec.rows, spec.cols].append(index)
    blocks = []
    for members in by_shape.values():
        block = _block(
            [[row[i] for i in members] for row in copies], [specs[i] for i in members], device, with_place=True
        )
        flags = tuple(_movable(specs[i], settings) for i in members)
        blocks.append(replace(block, movable=(flags,) * len(slots)))
    return GridProblem(blocks, precision=precision)


def _movable(spec: TensorSpec, settings: FitSettings) -> tuple[bool, bool]:
    """Whether the tensor's rows and columns may be moved: they may where seriation may move them."""
    if settings.order == "raw":
        return False, False
    return spec.row_axis.is_permutable, spec.col_axis.is_permutable


def _block(
    slots: Sequence[Sequence[Version]], specs: Sequence[TensorSpec], device: torch.device, *, with_place: bool
) -> GridBlock:
    values = _stacked([[version.outputs for version in slot] for slot in slots], device)
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
    means = None
    if any(version.measured.units.numbers for slot in slots for version in slot):
        rows, cols = zip(*[zip(*[version.means for version in slot], strict=True) for slot in slots], strict=True)
        means = _stacked(rows, device), _stacked(cols, device)
    return GridBlock(values=values, row_coords=axes[0], col_coords=axes[1], directions=directions, means=means)


def _stacked(arrays: Sequence[Sequence[Float32]], device: torch.device) -> Tensor:
    """Slot by slot, tensor by tensor, (S, G, ...)."""
    return torch.from_numpy(np.stack([np.stack(slot) for slot in arrays])).to(device)


def _pointwise(
    specs: Sequence[TensorSpec],
    slots: Sequence[Slot],
    copies: Sequence[Sequence[Version]],
    settings: FitSettings,
    device: torch.device,
) -> PointwiseProblem:
    def joined(parts_of: Callable[[Version], Float32]) -> Tensor:
        """The parts of the tensors of a slot one after the other, slot by slot."""
        rows = [np.concatenate([parts_of(version).ravel() for version in row]) for row in copies]
        return torch.from_numpy(np.stack(rows)).to(device)

    means = None
    if any(version.measured.units.numbers for row in copies for version in row):
        means = joined(lambda version: version.means[0]), joined(lambda version: version.means[1])
    is_shared = settings.scope == "model"
    shown = specs if is_shared else specs[:1]
    return PointwiseProblem(joined(lambda version: version.outputs), shown, settings, with_place=is_shared, means=means)
