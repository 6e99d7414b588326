"""Sums of all pairs, against the sums of each pair."""

import numpy as np
import pytest

from patterndb.neighbours import all_pairs
from patterndb.neighbours.all_pairs import cosine_distances, mean_squares

NAN = np.nan
ACCURACY = 1e-10
"""What the module promises."""


def rows_of_all_kinds(seed: int = 0) -> np.ndarray:
    """Unrelated rows, related ones, near copies, copies, rows that lack dimensions, constants and a row of nothing."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(40, 60)) * 10.0 ** rng.integers(-3, 4, 60) + rng.normal(size=60) * 1e3
    values[1] = values[0]
    values[2] = values[0] * (1 + 1e-9 * rng.normal(size=60))
    values[3] = values[0] + 1e-4 * rng.normal(size=60)
    values[4:6] = 0
    values[6:8] = 7
    values[10:, ::3][rng.random((30, 20)) < 0.4] = NAN
    values[8, 5:], values[9] = NAN, NAN
    values[10] = np.where(np.isfinite(values[11]), values[11], 1.0)
    return values


def difference(a: np.ndarray, b: np.ndarray) -> float:
    shared = np.isfinite(a) & np.isfinite(b)
    return float(np.mean((a[shared] - b[shared]) ** 2)) if shared.any() else NAN


def angle(a: np.ndarray, b: np.ndarray) -> float:
    shared = np.isfinite(a) & np.isfinite(b)
    norms = np.linalg.norm(a[shared]), np.linalg.norm(b[shared])
    return float(((a[shared] / norms[0] - b[shared] / norms[1]) ** 2).sum() / 2) if all(norms) else NAN


@pytest.mark.parametrize("rows_at_a_time", [7, 256])
def test_products_say_what_single_sums_say(rows_at_a_time: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_pairs, "ROWS_AT_A_TIME", rows_at_a_time)
    monkeypatch.setattr(all_pairs, "PAIRS_AT_A_TIME", 5)
    values = rows_of_all_kinds()
    expected = np.array([[difference(a, b) for b in values] for a in values])
    np.testing.assert_allclose(mean_squares(values), expected, rtol=ACCURACY, atol=0)
    expected = np.array([[angle(a, b) for b in values] for a in values])
    found, shared = cosine_distances(values)
    # Of unit vectors that are rounded themselves, no difference below rounding is known.
    np.testing.assert_allclose(np.sqrt(found), np.sqrt(expected), rtol=ACCURACY, atol=1e-15)
    present = np.isfinite(values)
    assert np.array_equal(shared, (present[:, None] & present[None, :]).sum(axis=2))


@pytest.mark.parametrize("rows_at_a_time", [7, 256])
def test_pairs_are_symmetric_and_copies_exactly_nothing_apart(
    rows_at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(all_pairs, "ROWS_AT_A_TIME", rows_at_a_time)
    values = rows_of_all_kinds()
    for found in (mean_squares(values), *cosine_distances(values)):
        assert np.array_equal(found, found.T, equal_nan=True)
    for found in (mean_squares(values), cosine_distances(values)[0]):
        # A row of zeros has no direction, one of nothing has neither.
        assert set(np.diag(found)[:4]) == {0.0} and found[0, 1] == found[10, 11] == found[6, 7] == 0
        assert np.isnan(found[9]).all()
    assert mean_squares(values)[4, 5] == 0 and np.isnan(cosine_distances(values)[0][4, 5])


def test_no_dimension_and_no_row_are_no_error() -> None:
    assert np.isnan(mean_squares(np.empty((3, 0)))).all() and np.isnan(cosine_distances(np.empty((3, 0)))[0]).all()
    assert mean_squares(np.empty((0, 5))).shape == cosine_distances(np.empty((0, 5)))[0].shape == (0, 0)
