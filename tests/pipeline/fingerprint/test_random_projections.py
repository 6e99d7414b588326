"""Random projections never change, and frames move with their axis."""

import numpy as np
import pytest

from pipeline.fingerprint.random_projections import random_signs, rank_scores, unit_scale, whiten


def test_a_row_of_signs_depends_on_its_number_alone() -> None:
    assert np.array_equal(random_signs(0, 100, 16, salt=1)[40:60], random_signs(40, 20, 16, salt=1))
    assert np.array_equal(random_signs(0, 5, 16, salt=1)[:, :8], random_signs(0, 5, 8, salt=1))


def test_random_signs_never_change() -> None:
    # Another table would make every signature ever stored incomparable with those to come.
    assert random_signs(30521, 1, 16, salt=1).astype(int).tolist() == [
        [1, -1, -1, -1, -1, 1, -1, 1, -1, 1, 1, -1, -1, -1, 1, 1]
    ]


def test_random_signs_are_balanced_and_tables_independent() -> None:
    one, two = random_signs(0, 4000, 16, salt=1), random_signs(0, 4000, 16, salt=2)
    assert set(np.unique(one)) == {-1.0, 1.0}
    assert np.abs(one.mean(axis=0)).max() < 0.06
    assert np.abs(one.T @ two / 4000).max() < 0.08


def test_a_whitened_frame_moves_with_its_axis() -> None:
    rng = np.random.default_rng(0)
    frame = rng.normal(size=(40, 16))
    order, turned = rng.permutation(40), rng.choice([-1.0, 1.0], 40)[:, None]
    assert np.allclose(whiten(frame[order] * turned), whiten(frame)[order] * turned, atol=1e-12)


def test_whitening_leaves_no_direction_above_the_others() -> None:
    frame = np.random.default_rng(1).normal(size=(40, 16)) @ np.diag(2.0 ** np.arange(16))
    singular = np.linalg.svd(whiten(frame), compute_uv=False)
    assert singular[0] == pytest.approx(1, abs=1e-3) and singular[4] > 0.4
    assert not whiten(np.zeros((5, 3))).any()


def test_unit_scale_is_of_the_entries() -> None:
    assert np.allclose(unit_scale(np.array([[3.0, 4.0]])), np.array([3.0, 4.0]) / np.sqrt(12.5))
    assert not unit_scale(np.zeros((2, 2))).any()


def test_rank_scores_are_centred_and_ties_share_theirs() -> None:
    assert rank_scores(np.array([5.0, 1.0, 900.0, 5.0])).tolist() == [0.0, -0.375, 0.375, 0.0]
    assert not rank_scores(np.ones(7, dtype=np.float32)).any()
