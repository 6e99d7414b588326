"""What the networks of a DNA oscillate with: the frequencies of their first layers, and how much of each is in the
weights."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline.dna.decoder import Decoder, axis_samples
from pipeline.fit.networks import HIDDEN_OMEGA, AdaptiveDna, HierarchicalDna, SeparableDna, Siren, SpectralDna
from pipeline.fit.separable import scaled_coordinates

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FREQUENCY_COLUMNS", "frequencies_of"]

FREQUENCY_COLUMNS = ("network", "unit", "row_cycles", "col_cycles", "depth_cycles", "lowest", "highest", "amplitude")
LONGEST_AXIS = 64
"""A pointwise DNA is looked at on so many rows and columns; a separable one on all of its own."""
LONGEST_FACTOR = 4096


def frequencies_of(decoder: Decoder) -> "pd.DataFrame":
    """A row for each first-layer unit, sin(omega (w . x + b)), the largest amplitude first.

    - `network`: `rows.N` and `cols.N`, the branches of a separable DNA; `coarse`, `middle` and `fine` of a hierarchical
      one; `net` of the others;
    - `row_cycles`, `col_cycles`: whole oscillations from the first row (column) to the last, omega |w| / pi. A unit of
      a separable DNA oscillates along one axis, and has 0 for the other; one of a pointwise DNA is a plane wave along
      both;
    - `depth_cycles`: likewise from the first to the last depth, where depth is a coordinate, else 0;
    - `lowest`, `highest`: what the cycles are to be multiplied with at the points where the frequency is lowest and
      highest. Both are 1 except for the adaptive kind, whose cycles are at the mean frequency;
    - `amplitude`: in the units of the weights, to first order: sqrt(2) times the standard deviation of the unit times
      the root mean square of d weight / d unit, both over the samples. Of a network without hidden layers it is the
      factor of the sine. Deeper layers add sums and multiples of these frequencies.
    """
    import pandas as pd

    rows = [row for found in _networks(decoder) for row in found]
    frame = pd.DataFrame(rows, columns=list(FREQUENCY_COLUMNS))
    return frame.sort_values("amplitude", ascending=False, kind="stable", ignore_index=True)


def _networks(decoder: Decoder) -> Iterator[list[dict[str, Any]]]:
    net = decoder.net
    if isinstance(net, SeparableDna):
        yield from _separable(decoder, net)
        return
    spec = decoder.tensor.spec
    axes = [axis_samples(min(length, LONGEST_AXIS), False) for length in (spec.rows, spec.cols)]
    coords = decoder.coordinates(torch.cartesian_prod(*axes))[None]
    if isinstance(net, HierarchicalDna):
        shares = torch.softmax(net.mixture[0, 0], dim=-1).tolist()
        for name, siren, share in zip(("coarse", "middle", "fine"), net.nets, shares, strict=True):
            assert isinstance(siren, Siren)
            yield _pointwise(name, siren, coords, torch.tensor(siren.omega), share * decoder.tensor.scale)
    else:
        assert isinstance(net, SpectralDna | AdaptiveDna)
        omega = net.frequency(coords) if isinstance(net, AdaptiveDna) else torch.tensor(net.net.omega)
        yield _pointwise("net", net.net, coords, omega, decoder.tensor.scale)


def _pointwise(name: str, siren: Siren, coords: Tensor, omega: Tensor, scale: float) -> list[dict[str, Any]]:
    """Of one SIREN at points (1, P, D); `omega`: a scalar, or one a point (1, P, 1)."""
    hidden = siren.first(coords, omega).requires_grad_()
    with torch.enable_grad():
        (slopes,) = torch.autograd.grad(siren.behind_first(hidden).sum(), hidden)
    amplitudes = scale * math.sqrt(2) * hidden.detach().std(dim=1)[0] * slopes.square().mean(dim=1)[0].sqrt()
    mean = float(omega.mean())
    cycles = mean * siren.weights[0][0].abs() / math.pi
    rows, cols, *depths = cycles.tolist()
    spread = float(omega.min()) / mean, float(omega.max()) / mean
    return _units(name, rows, cols, depths[0] if depths else [0.0] * len(rows), amplitudes, spread)


def _separable(decoder: Decoder, net: SeparableDna) -> Iterator[list[dict[str, Any]]]:
    """Of every branch. The slope of a weight along a unit of the rows is d A / d unit times B^T, and likewise."""
    spec = decoder.tensor.spec
    rows, cols = (axis_samples(min(length, LONGEST_FACTOR), True) for length in (spec.rows, spec.cols))
    factors = decoder.factors(rows, cols)
    for axis, (sirens, points) in enumerate(((net.rows, rows), (net.cols, cols))):
        other, start = factors[1 - axis], 0
        gram = other.T @ other / len(other)
        for branch, siren in enumerate(sirens):
            assert isinstance(siren, Siren)
            width = siren.out_weight.shape[-1]
            own = gram[start : start + width, start : start + width]
            yield _branch(decoder, siren, points, own, axis, branch)
            start += width


def _branch(
    decoder: Decoder, siren: Siren, points: Tensor, gram: Tensor, axis: int, branch: int
) -> list[dict[str, Any]]:
    inputs = scaled_coordinates(decoder.coordinates(points[:, None]), siren.omega)[None]
    hidden = siren.first(inputs).requires_grad_()
    with torch.enable_grad():
        outputs = siren.behind_first(hidden)
        slopes = [torch.autograd.grad(outputs[..., k].sum(), hidden, retain_graph=True)[0][0] for k in range(len(gram))]
    jacobian = torch.stack(slopes, dim=-1)  # (M, H, K)
    squares = torch.einsum("phk,kl,phl->ph", jacobian, gram, jacobian).clamp(min=0)
    found = decoder.tensor.scale * math.sqrt(2) * hidden.detach().std(dim=1)[0] * squares.mean(dim=0).sqrt()
    weights = siren.weights[0][0].abs()
    cycles: list[float] = (siren.omega * weights[0] / math.pi).tolist()
    none = [0.0] * len(cycles)
    depths = [HIDDEN_OMEGA * value / math.pi for value in weights[1].tolist()] if len(weights) > 1 else none
    along = (cycles, none) if axis == 0 else (none, cycles)
    return _units(f"{('rows', 'cols')[axis]}.{branch}", *along, depths, found, (1.0, 1.0))


def _units(
    network: str,
    rows: Sequence[float],
    cols: Sequence[float],
    depths: Sequence[float],
    amplitudes: Tensor,
    spread: tuple[float, float],
) -> list[dict[str, Any]]:
    """A row for each unit of a first layer, from its cycles and amplitude."""
    units = enumerate(zip(rows, cols, depths, amplitudes.abs().tolist(), strict=True))
    rows_of = ((network, unit, row, col, depth, *spread, amplitude) for unit, (row, col, depth, amplitude) in units)
    return [dict(zip(FREQUENCY_COLUMNS, row, strict=True)) for row in rows_of]
