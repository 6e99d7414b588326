"""Q-values, against scipy and by hand."""

import math

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from patterndb.multiplicity import q_values


@pytest.mark.parametrize("count", [1, 2, 7, 500])
def test_q_values_are_scipys(count: int) -> None:
    p = np.random.default_rng(count).beta(0.5, 1, count)
    assert q_values(p.tolist()) == pytest.approx(false_discovery_control(p), rel=1e-12)


def test_ties_share_a_q() -> None:
    p = [1 / 9, 5 / 9, 1 / 9, 1.0, 1 / 9]
    assert q_values(p) == pytest.approx(false_discovery_control(p))
    assert len({q_values(p)[index] for index in (0, 2, 4)}) == 1


def test_what_was_not_tested_does_not_count() -> None:
    assert q_values([0.01, None, 0.04, math.nan]) == (0.02, None, 0.04, None)


def test_a_single_test_keeps_its_p() -> None:
    assert q_values([0.03]) == (0.03,)
    assert q_values([]) == () and q_values([None]) == (None,)


def test_q_is_never_below_p_nor_above_one() -> None:
    p = np.random.default_rng(0).uniform(size=100)
    q = np.array(q_values(p.tolist()), dtype=float)
    assert (q >= p).all() and (q <= 1).all()


def test_false_findings_are_as_rare_as_promised() -> None:
    """Of what q <= 0.1 calls a finding, at most 10 % come from uniform p, on average over many families."""
    rng, shares = np.random.default_rng(1), []
    for _ in range(300):
        p = np.concatenate([rng.uniform(size=80), rng.beta(0.05, 5, 20)])
        called = np.array(q_values(p.tolist()), dtype=float) <= 0.1
        shares.append(called[:80].sum() / max(called.sum(), 1))
    assert np.mean(shares) == pytest.approx(0.08, abs=0.03)
