"""Predict a label from the signature, with whole lineages left out: with single models left out, a fine-tuned copy
would reveal the label.

The classifier is linear: ridge regression of the labels on normal scores of the dimensions (a regularised linear
discriminant). Its predictions of a left-out lineage are one matrix times the labels (Allen 1974), and that matrix does
not depend on the labels. So all labellings cost one product, and every one is predicted in exactly the same way.

U = units, D = dimensions, L = labellings, C = labels.
"""

import numpy as np
from scipy.special import ndtri

from pipeline.analyse.permutation_tests import Labels
from pipeline.arrays import Float64
from pipeline.fingerprint.random_projections import rank_scores

__all__ = ["balanced_recalls", "correlations", "leave_lineages_out", "normal_scores", "predict"]

RIDGE = 0.1
"""Of the median eigenvalue: half of the directions in which units differ keep 10/11 of their weight or more. So a
difference in a direction of little variance counts, which distances over all dimensions do not see."""
ROUNDING = 1e-9


def normal_scores(values: Float64) -> Float64:
    """(U, D): normal quantiles of the ranks of each column (van der Waerden), so that no scale or outlier decides."""
    return np.apply_along_axis(lambda column: ndtri(rank_scores(column) + 0.5), 0, values)


def leave_lineages_out(features: Float64, lineages: Labels) -> Float64:
    """The matrix (U, U) that predicts values of units from those of the other lineages.

    It fits a ridge regression with an intercept on the `features` (U, D); rows sum to 1. Needs two lineages.
    """
    num_units = len(features)
    centred = features - features.mean(axis=0)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    kept = values > ROUNDING * values[-1]
    penalty = RIDGE * float(np.median(values[kept])) if kept.any() else 1.0
    shrunk = np.where(kept, values, 0.0) / (np.where(kept, values, 0.0) + penalty)
    fitted = 1 / num_units + (vectors * shrunk) @ vectors.T
    own = lineages[:, None] == lineages
    return np.asarray(np.linalg.solve(np.eye(num_units) - fitted * own, fitted * ~own))


def predict(predictor: Float64, codes: Labels, lineages: Labels) -> Float64:
    """How far each unit's prediction of each label is above the label's share of the other lineages: (C, L, U).

    - `predictor`: `leave_lineages_out`.
    - `codes`: labellings (L, U).
    """
    other = (lineages[:, None] != lineages).astype(np.float64)
    beyond_share = predictor - other / other.sum(axis=1, keepdims=True)
    return np.stack([(codes == code) @ beyond_share.T for code in range(int(codes.max()) + 1)])


def correlations(predicted: Float64, codes: Labels) -> Float64:
    """Of the predictions with the labels, about 0 by chance: (L,). It is finer than the share of correct predictions,
    and so finds more in few lineages."""
    own = np.take_along_axis(predicted, codes[None], axis=0)[0].sum(axis=1)
    norms = np.sqrt((predicted**2).sum(axis=(0, 2)))
    return np.asarray(own / np.where(norms > 0, norms, 1.0))


def balanced_recalls(predicted: Float64, codes: Labels) -> Float64:
    """The share of each label's units whose largest prediction is that label: (L, C)."""
    hits = predicted.argmax(axis=0) == codes
    is_label = [codes == code for code in range(len(predicted))]
    return np.stack([(hits & own).sum(axis=1) / own.sum(axis=1) for own in is_label], axis=1)
