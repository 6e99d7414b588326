"""The additive model of a matrix."""

import numpy as np
import pytest

from pipeline.additive import additive_model


def test_the_least_squares_fit_of_an_intercept_rows_and_columns() -> None:
    rng = np.random.default_rng(0)
    matrix = (rng.standard_normal((7, 5)) + rng.standard_normal((7, 1)) + 3).astype(np.float32)
    design = np.hstack([np.ones((35, 1)), np.kron(np.eye(7), np.ones((5, 1))), np.tile(np.eye(5), (7, 1))])
    fitted = design @ np.linalg.lstsq(design, matrix.ravel().astype(np.float64), rcond=None)[0]
    model = additive_model(matrix)
    np.testing.assert_allclose(model.residual(matrix).ravel(), matrix.ravel() - fitted, atol=1e-5)
    np.testing.assert_allclose(model.plus(model.residual(matrix)), matrix, atol=1e-5)
    explained = float(np.square(fitted - matrix.mean(dtype=np.float64)).sum())
    assert model.row_energy + model.col_energy == pytest.approx(explained, rel=1e-6)
