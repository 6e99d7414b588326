"""How alike the outputs of two models are."""

from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional as F

__all__ = ["agreement", "cosine", "divergence", "linear_cka", "rank_correlation"]


def cosine(first: Tensor, second: Tensor) -> float:
    """Mean over inputs of the cosine of two models' vectors, both (N, D)."""
    return float(F.cosine_similarity(first.double(), second.double(), dim=1).mean())


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Linear centred kernel alignment of two models' vectors (N, D) and (N, E), N at least 4.

    1 if one is the other turned, mirrored and scaled; about 0 if they have nothing to do with each other, also for few
    inputs and many dimensions, as the unbiased estimator of HSIC is used (Kornblith et al. 2019; Song et al. 2012,
    equation 5). It can be slightly below 0.
    """
    one, two = (_centred_gram(each.double()) for each in (first, second))
    size = float((_hsic(one, one) * _hsic(two, two)).clamp(min=0).sqrt())
    return float(_hsic(one, two)) / size if size > 0 else float("nan")


def _centred_gram(vectors: Tensor) -> Tensor:
    """Products of all inputs (N, N), without the diagonal; centring first keeps the sums small."""
    centred = vectors - vectors.mean(dim=0)
    gram = centred @ centred.T
    gram.fill_diagonal_(0)
    return gram


def _hsic(one: Tensor, two: Tensor) -> Tensor:
    count = len(one)
    found = (one * two).sum() + one.sum() * two.sum() / ((count - 1) * (count - 2))
    return found - 2 * (one.sum(dim=0) @ two.sum(dim=0)) / (count - 2)


def divergence(logits: Tensor, others: Tensor) -> float:
    """Kullback-Leibler divergence of the second model's distribution from the first's, in nats, mean over (P, V)."""
    target, guess = (F.log_softmax(each.double(), dim=-1) for each in (logits, others))
    return float(F.kl_div(guess, target, log_target=True, reduction="batchmean").clamp(min=0))


def agreement(logits: Tensor, others: Tensor) -> float:
    """Share of the predictions (P, V) whose first choice is the same."""
    return float((logits.argmax(dim=-1) == others.argmax(dim=-1)).double().mean())


def rank_correlation(values: Tensor, grades: Tensor) -> float:
    """Spearman's rank correlation; NaN where all values are alike."""
    if float(values.max() - values.min()) == 0:
        return float("nan")
    return float(spearmanr(values.numpy(), grades.numpy()).statistic)
