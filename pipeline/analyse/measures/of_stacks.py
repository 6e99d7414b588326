"""Statistics of every matrix of a stack, by PyTorch: what `pipeline.analyse.statistics` takes of one matrix at a time.

The definitions and the names are those of there. Sums are float64, transforms float32, as there. Nothing is read back.

B = matrices, R = rows, C = columns.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from pipeline.analyse.statistics.clusters import CENTRE_STEPS, COARSER, MAX_STEPS, NUM_CLUSTERS, ROUNDING
from pipeline.analyse.statistics.distribution import MAGNITUDE_QUANTILES, NEAR_ZERO
from pipeline.analyse.statistics.entropy import NUM_BINS, RANGE_STD
from pipeline.analyse.statistics.spectra import LOW_SHARE, NUM_BANDS, frequency_grid
from pipeline.dense.clusters import Partition, cluster, directions, farthest_first
from pipeline.dense.transforms import dct_of_matrices

__all__ = ["clusters_of", "positions_of", "residuals", "sizes_of", "spectra_of", "values_of"]

Numbers = dict[str, Tensor]
"""Name -> (B,), or (B, ...)."""


def positions_of(stack: Tensor) -> Numbers:
    """Of canonical matrices (B, R, C), but for what follows from their singular values."""
    return spectra_of(stack) | sizes_of(stack)


def spectra_of(stack: Tensor) -> Numbers:
    """`measure_spectra` of canonical matrices (B, R, C)."""
    _, rows, cols = stack.shape
    centred = stack - stack.mean(dim=(1, 2), keepdim=True, dtype=torch.float64).float()
    squares = dct_of_matrices(centred).double().square_()
    squares[:, 0, 0] = 0.0
    total = squares.sum(dim=(1, 2), keepdim=True)
    share = squares.div_(torch.where(total > 0, total, 1.0))
    radial, band = _grid(rows, cols, stack.device)
    cut = math.sqrt(LOW_SHARE)
    # One masked sum a band: additions to one place would come in another order in every run.
    bands = [(share * (band == index)).sum(dim=(1, 2)) for index in range(NUM_BANDS)]
    return {
        "spectra.low_share": share[:, : math.ceil(rows * cut), : math.ceil(cols * cut)].sum(dim=(1, 2)),
        **{f"spectra.band_{index}": energy for index, energy in enumerate(bands)},
        "spectra.centroid": (share * radial).sum(dim=(1, 2)),
        "spectra.dominant_row": share.sum(dim=2).argmax(dim=1).double() / rows,
        "spectra.dominant_col": share.sum(dim=1).argmax(dim=1).double() / cols,
    }


@lru_cache(maxsize=8)
def _grid(rows: int, cols: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Radial frequency and band of each coefficient, (R, C), copied over once for a shape."""
    radial, band = frequency_grid(rows, cols)
    return torch.tensor(radial, device=device), torch.tensor(band, dtype=torch.uint8, device=device).view(rows, cols)


def sizes_of(stack: Tensor) -> Numbers:
    """`measure_sizes` of matrices (B, R, C)."""
    squares = stack.double().square_()
    lengths = (squares.sum(dim=axis).sqrt() for axis in (2, 1))
    spreads = (each.std(dim=1, correction=0) / each.mean(dim=1) for each in lengths)
    return dict(zip(("sizes.rows", "sizes.cols"), spreads, strict=True))


def residuals(stack: Tensor, *, rows: bool, cols: bool) -> Tensor:
    """Each matrix (B, R, C) less its additive model, float32, as `AdditiveModel.residual`."""
    if not (rows or cols):
        return stack
    mean = stack.mean(dim=(1, 2), keepdim=True, dtype=torch.float64)
    row_means = stack.mean(dim=2, keepdim=True, dtype=torch.float64) if rows else mean
    expected = row_means + (stack.mean(dim=1, keepdim=True, dtype=torch.float64) - mean if cols else 0.0)
    return stack - expected.float()


def clusters_of(stack: Tensor, *, is_centred: bool = True) -> Numbers:
    """`clusters_and_measures` of matrices (B, R, C): with labels, sizes and norms, which are no statistics."""
    points, first = directions(stack, num_steps=CENTRE_STEPS if is_centred else 0, rounding=ROUNDING)
    starts = farthest_first(points, NUM_CLUSTERS, first)
    found = cluster(points, starts, MAX_STEPS)
    coarser = (_separation(cluster(points, starts[:, :count], MAX_STEPS)) for count in COARSER)
    separations = [_separation(found), *coarser]
    by_size = torch.argsort(-found.counts, dim=1, stable=True)
    sizes = found.counts.gather(1, by_size) / points.shape[1]
    balance = _entropy(sizes) / math.log(sizes.shape[1]) if sizes.shape[1] > 1 else torch.zeros_like(sizes[:, 0])
    return {
        "clusters.explained": _explained(points, found),
        "clusters.separation": torch.stack(separations).amax(dim=0),
        "clusters.balance": balance + 0.0,
        "labels": torch.argsort(by_size, dim=1).gather(1, found.labels),
        "sizes": sizes,
        "norms": found.centroids.square().sum(dim=2).sqrt().gather(1, by_size),
    }


def _own(found: Partition) -> Tensor:
    """Distance of each row to its own centroid, (B, R)."""
    return found.distances.gather(2, found.labels[:, :, None])[:, :, 0]


def _separation(found: Partition) -> Tensor:
    """Simplified silhouette of each partition, (B,)."""
    own = other = _own(found)
    if found.distances.shape[2] > 1:
        other = found.distances.scatter(2, found.labels[:, :, None], torch.inf).amin(dim=2)
    return ((other - own) / torch.maximum(own, other).clamp(min=1e-300)).mean(dim=1)


def _explained(points: Tensor, found: Partition) -> Tensor:
    """Share of the variance of the rows that lies between their clusters, (B,)."""
    total = points.square().sum(dim=(1, 2)) - points.shape[1] * points.mean(dim=1).square().sum(dim=1)
    left = _own(found).square().sum(dim=1)
    return torch.where(total > 1e-9, 1 - left / total.clamp(min=1e-300), 0.0)


def values_of(stack: Tensor) -> Numbers:
    """`measure_values` of matrices (B, R, C)."""
    flat = stack.flatten(1).double()
    return {"entropy.histogram": _histogram_entropy(flat), **_distribution(flat)}


def _distribution(flat: Tensor) -> Numbers:
    rms = flat.square().mean(dim=1).sqrt()
    scaled = flat / torch.where(rms > 0, rms, 1.0)[:, None]
    mean = scaled.mean(dim=1)
    magnitude = scaled.abs().float().sort(dim=1).values
    quantiles = (_percentile(magnitude, percent) for percent in MAGNITUDE_QUANTILES)
    return {
        "distribution.log_rms": rms.log10(),
        "distribution.mean": mean,
        **_moments(scaled.sub_(mean[:, None])),
        "distribution.near_zero": (magnitude < NEAR_ZERO).double().mean(dim=1),
        **{f"distribution.magnitude_{pct}": q for pct, q in zip(MAGNITUDE_QUANTILES, quantiles, strict=True)},
        "distribution.magnitude_max": magnitude[:, -1].double(),
    }


def _moments(centred: Tensor) -> Numbers:
    squares = centred.square()
    variance = squares.mean(dim=1)
    has_spread = variance > 1e-14
    safe = torch.where(has_spread, variance, 1.0)
    third, fourth = (squares * centred).mean(dim=1), squares.square_().mean(dim=1)
    return {
        "distribution.std": variance.sqrt(),
        "distribution.skewness": torch.where(has_spread, third / safe**1.5, torch.nan),
        "distribution.kurtosis": torch.where(has_spread, fourth / safe**2 - 3, torch.nan),
    }


def _percentile(ascending: Tensor, percent: float) -> Tensor:
    """Of each row (B, N), linear between neighbours, float64."""
    place = percent / 100 * (ascending.shape[1] - 1)
    low, high = (ascending[:, bound].double() for bound in (math.floor(place), math.ceil(place)))
    return low + (high - low) * (place - math.floor(place))


def _histogram_entropy(flat: Tensor) -> Tensor:
    mean, std = flat.mean(dim=1, keepdim=True), flat.std(dim=1, correction=0, keepdim=True)
    scaled = (flat - mean) * (NUM_BINS / (2 * RANGE_STD * torch.where(std > 0, std, 1.0))) + NUM_BINS / 2
    bins = scaled.clamp_(0, NUM_BINS - 1).long()
    counts = torch.zeros((len(flat), NUM_BINS), dtype=torch.int64, device=flat.device)
    counts.scatter_add_(1, bins, torch.ones_like(bins))  # Of integers: their order does not matter.
    bits = _entropy(counts / flat.shape[1]) / math.log(2)
    return torch.where(std[:, 0] > 0, bits, 0.0)


def _entropy(shares: Tensor) -> Tensor:
    """In nats, of shares (B, N) that add up to 1."""
    terms: Tensor = torch.special.entr(shares.double())
    return terms.sum(dim=1)
