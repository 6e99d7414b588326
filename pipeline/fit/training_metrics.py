"""What the history of a fit says of its errors, in original units, for a small part of the fit's price.

    mse, rmse, r2, psnr    as in the fit report: all tensors of the stack together, R2 about each tensor's own mean
    mae                    mean of |e|
    smape                  mean of 200 |e| / (|w| + |w_hat|), in %
    mape                   mean of 100 |e| / |w|, in %, over the weights that are not next to zero

MAPE has no bound, and no value at w = 0, and trained weights lie around 0: one of them may outweigh a million others.
So weights smaller than `NEAR_ZERO` standard deviations of their tensor are left out, and `mape_left_out` says what
share of them that is. It remains a figure of the small weights; to compare fits, take another.

S = slots, G = tensors in a slot, P = points.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.fit.prepare import PreparedProblem
from pipeline.fit.problem import Sample
from pipeline.fit.report import psnr
from pipeline.fit.versions import Measured

__all__ = ["TrainingMetrics"]

NEAR_ZERO = 0.01
TINY = 1e-300
"""In place of the 0 that a constant tensor would have below a line."""
SUMS = ("absolute", "symmetric", "relative", "kept")
SHARED_SUMS = (*SUMS, "squares", "variation")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What one sample's weights are, each (S, P) in original units, as long as no row or column moves."""

    values: Tensor
    """The sample's own, by which to tell."""
    scale: Tensor
    mean: Tensor
    weights: Tensor
    size: Tensor
    inverse: Tensor
    """100 / |w|, and 0 next to zero."""
    fixed: Tensor
    """Sums that no network changes, (1, S) or (2, S): weights kept, and squares about the tensors' means."""


class TrainingMetrics:
    """Measures one stack in training: a `pipeline.fit.trainer.Measure`. Sums are taken on the device, without a word
    to the host; the host makes figures of them when it reads them.

    Where a network stands for one tensor, its loss says what its squared errors are, over all weights or over the
    batches of the epoch. The absolute ones, and all where a network stands for many tensors, are of `points` weights,
    the same ones throughout the training.
    """

    def __init__(self, prepared: PreparedProblem, *, num_real: int, seed: int) -> None:
        """The first `num_real` slots of the problem are no nulls."""
        problem, moments = prepared.problem, prepared.moments
        self.num_real, self.sampled = num_real, problem.sampler(seed)
        self.is_shared = problem.num_parts > 1
        self.is_sample = problem.is_sampled or self.is_shared
        self.num_measured = problem.num_slots if self.is_shared else num_real
        """Slots whose errors are taken on the sample; of nulls the absolute ones are of no interest."""
        self.peak = max(moment.high for moment in moments) - min(moment.low for moment in moments)
        sizes = [problem.part_size(part) for part in range(problem.num_parts)]
        self.weights = num_real * sum(sizes)

        def table(of: Callable[[Measured], float]) -> Tensor:
            """A number of every tensor of every slot, (S, G)."""
            return torch.tensor([[of(each) for each in row] for row in prepared.measured])

        self.stds = table(lambda each: each.moments.std)
        self.means, self.scales = table(lambda each: each.units.mean), table(lambda each: each.units.scale)
        squares = (of.double().square() * torch.tensor(sizes) for of in (self.stds, self.scales))
        self.total, self.trained = (part.sum(dim=1).tolist() for part in squares)
        """Sums of squares of each slot: about its tensors' means, and of what its network is to give."""
        self.known: dict[int, _Known] = {}
        self.points = 0
        """Weights that were looked at."""

    @property
    def num_sums(self) -> int:
        """How many numbers `take` gives."""
        return len(self._names) * self.num_measured

    @property
    def _names(self) -> tuple[str, ...]:
        return SHARED_SUMS if self.is_shared else SUMS

    def take(self, net: nn.Module) -> Tensor:
        """Sums over the weights of the moment, (`num_sums`,) float32 on the device."""
        with torch.no_grad():
            samples = self.sampled(net)
            parts = [self._sums(number, sample) for number, sample in enumerate(samples)]
            self.points = self.num_real * sum(sample.values.shape[1] for sample in samples)
            return torch.stack(parts).sum(dim=0).flatten()

    def tell(self, taken: Sequence[float], losses: Sequence[float]) -> dict[str, float]:
        """The figures of the moment, given what was taken, and the mean loss (S,) of each slot in the epoch."""
        count = self.num_measured
        sums = {name: taken[place * count : (place + 1) * count] for place, name in enumerate(self._names)}
        if self.is_shared:
            shares = [e / max(v, TINY) for e, v in zip(sums["squares"], sums["variation"], strict=True)]
            sse = [share * total for share, total in zip(shares, self.total, strict=True)]
        else:
            sse = [loss * trained for loss, trained in zip(losses, self.trained, strict=True)]
        sizes = {"points": self.points, "weights": self.weights, "is_sample": self.is_sample}
        return self._squared(sse) | self._absolute(sums) | sizes

    def _sums(self, number: int, sample: Sample) -> Tensor:
        """`SUMS` or `SHARED_SUMS` of each slot that is measured, as if over all its weights, (4, S) or (6, S)."""
        if number not in self.known or self.known[number].values is not sample.values:
            self.known[number] = self._know(sample)
        known = self.known[number]
        predicted = torch.addcmul(known.mean, sample.predicted[: self.num_measured], known.scale)
        error = (predicted - known.weights).abs_()
        symmetric = error / predicted.abs_().add_(known.size).clamp_(min=1e-30)
        sums = [error.sum(dim=1), 200 * symmetric.sum(dim=1), (error * known.inverse).sum(dim=1), known.fixed[0]]
        if self.is_shared:
            sums += [error.square_().sum(dim=1), known.fixed[1]]
        return sample.weight * torch.stack(sums)

    def _know(self, sample: Sample) -> _Known:
        """What is measured of the sample again and again."""
        values = sample.values[: self.num_measured]
        parts = sample.parts if self.is_shared else slice(None)
        tables = (of.to(values.device) for of in (self.stds, self.scales, self.means))
        std, scale, mean = (of[: self.num_measured, parts] for of in tables)
        weights = values * scale + mean
        size = weights.abs()
        kept = size > NEAR_ZERO * std
        fixed = [kept.sum(dim=1).float(), (weights - mean).square().sum(dim=1)]
        return _Known(
            values=sample.values,
            scale=scale,
            mean=mean,
            weights=weights,
            size=size,
            inverse=torch.where(kept, 100 / size, 0.0),
            fixed=torch.stack(fixed),
        )

    def _squared(self, sse: Sequence[float]) -> dict[str, float]:
        """From the sum of squared errors of each slot."""
        real, null = slice(self.num_real), slice(self.num_real, None)
        mse = math.fsum(sse[real]) / self.weights
        r2 = {"r2": 1 - math.fsum(sse[real]) / max(math.fsum(self.total[real]), TINY)}
        if sse[null]:
            r2["null_r2"] = 1 - math.fsum(sse[null]) / max(math.fsum(self.total[null]), TINY)
        return r2 | {"mse": mse, "rmse": math.sqrt(mse), "psnr": psnr(self.peak, mse)}

    def _absolute(self, sums: Mapping[str, Sequence[float]]) -> dict[str, float]:
        over = {name: math.fsum(values[: self.num_real]) for name, values in sums.items()}
        found = {
            "mae": over["absolute"] / self.weights,
            "smape": over["symmetric"] / self.weights,
            "mape_left_out": max(1 - over["kept"] / self.weights, 0.0),
        }
        # A tensor of zeros leaves nothing to take a relative error of.
        return found | ({"mape": over["relative"] / over["kept"]} if over["kept"] else {})
