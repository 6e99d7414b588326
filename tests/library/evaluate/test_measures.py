"""How alike outputs are, against known answers."""

import math

import pytest
import torch
from torch.nn import functional as F

from library.evaluate.measures import agreement, cosine, divergence, linear_cka, rank_correlation


def vectors(seed: int, count: int = 60, width: int = 20) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def rotation(width: int) -> torch.Tensor:
    return torch.linalg.qr(vectors(9, width, width)).Q


def test_a_model_is_like_itself() -> None:
    logits = vectors(0)
    assert cosine(logits, logits) == pytest.approx(1)
    assert linear_cka(logits, logits) == pytest.approx(1)
    assert divergence(logits, logits) == 0
    assert agreement(logits, logits) == 1


def test_cka_knows_a_rotation_a_scale_and_a_shift_and_cosine_does_not() -> None:
    first = vectors(0)
    turned = 3 * first @ rotation(20) + 5
    assert linear_cka(first, turned) == pytest.approx(1, abs=1e-5)
    assert abs(cosine(first, first @ rotation(20))) < 0.3


def test_cka_of_unrelated_vectors_is_about_0_even_where_they_have_more_dimensions_than_inputs() -> None:
    found = [linear_cka(vectors(seed, 30, 200), vectors(seed + 100, 30, 200)) for seed in range(20)]
    assert abs(sum(found) / 20) < 0.05 and max(map(abs, found)) < 0.3


def test_divergence_by_hand() -> None:
    first, second = torch.tensor([[math.log(0.5), math.log(0.5)]]), torch.tensor([[math.log(0.25), math.log(0.75)]])
    assert divergence(first, second) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert divergence(second, first) != pytest.approx(divergence(first, second))


def test_divergence_is_that_of_torch_s_distributions() -> None:
    first, second = vectors(1), vectors(2)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=first), torch.distributions.Categorical(logits=second)
    )
    assert divergence(first, second) == pytest.approx(float(expected.mean()), rel=1e-5)


def test_agreement_counts_first_choices() -> None:
    assert agreement(torch.eye(4), torch.eye(4)[[0, 1, 3, 2]]) == 0.5


def test_rank_correlation_looks_at_ranks_alone() -> None:
    grades = torch.tensor([0.0, 1, 2, 3, 4])
    assert rank_correlation(F.softplus(grades).exp(), grades) == pytest.approx(1)
    assert math.isnan(rank_correlation(torch.ones(5), grades))
