"""Linear algebra on stacks, run on the CPU: each matrix has what numpy and scipy give for it alone."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.fft import dctn

import pipeline.dense.ordering as ordering
from pipeline import decomposition
from pipeline.analyse.statistics.clusters import CENTRE_STEPS, ROUNDING, cluster_rows
from pipeline.dense.clusters import cluster, directions, farthest_first
from pipeline.dense.ordering import in_order
from pipeline.dense.spectrum import decompose, gram, singular_values
from pipeline.dense.transforms import dct_of_matrices
from pipeline.order import NUM_FEATURES, canonicalise, seriate_tensor
from tests.support.small_models import matrix_spec
from zoo.tensors import Axis

SHAPES = [(40, 30), (30, 40), (33, 33), (2, 9), (9, 1), (1, 1)]
Float32 = npt.NDArray[np.float32]


def matrices(rows: int, cols: int, count: int = 3) -> Float32:
    """Of low rank and some noise, each of another scale."""
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(count, rows, 3)), rng.normal(size=(count, 3, cols))
    scale = 10.0 ** np.arange(-1, count - 1)[:, None, None]
    return np.asarray(scale * (left @ right + 0.5 * rng.normal(size=(count, rows, cols))), dtype=np.float32)


@pytest.mark.parametrize(("rows", "cols"), SHAPES)
def test_singular_values_and_directions_are_those_of_one_matrix_at_a_time(rows: int, cols: int) -> None:
    values = matrices(rows, cols)
    stack = torch.from_numpy(values)
    spectra = decompose(stack, 4)
    for place, matrix in enumerate(values):
        alone = decomposition.decompose(matrix, 4)
        for ours in (singular_values(stack)[place], spectra.singular[place]):
            assert ours.numpy() == pytest.approx(alone.singular, rel=1e-9, abs=1e-9 * alone.singular[0])
        agreement = np.abs(np.sum(spectra.directions[place].numpy() * alone.directions, axis=0))
        assert agreement == pytest.approx(np.ones(min(4, rows, cols)), abs=1e-9)
    assert gram(stack).shape == (3, min(rows, cols), min(rows, cols))


def test_rounding_of_missing_ranks_is_set_to_zero() -> None:
    values = np.stack([np.ones((6, 5)), np.zeros((6, 5)), np.eye(6, 5)]).astype(np.float32)
    assert (singular_values(torch.from_numpy(values)) > 0).sum(dim=1).tolist() == [1, 0, 5]


@pytest.mark.parametrize(("rows", "cols"), SHAPES)
def test_the_cosine_transform_is_that_of_scipy(rows: int, cols: int) -> None:
    values = matrices(rows, cols)
    found = dct_of_matrices(torch.from_numpy(values)).numpy()
    for ours, matrix in zip(found, values, strict=True):
        assert ours == pytest.approx(dctn(matrix, norm="ortho"), rel=1e-4, abs=1e-5 * float(np.abs(matrix).max()))


@pytest.mark.parametrize(("rows", "cols"), SHAPES)
@pytest.mark.parametrize("row_axis", [Axis.HIDDEN, Axis.ATTENTION, Axis.POSITION])
def test_matrices_are_put_into_the_order_that_they_have_alone(rows: int, cols: int, row_axis: Axis) -> None:
    values, spec = matrices(rows, cols), matrix_spec("any", rows, cols, row_axis=row_axis, col_axis=Axis.HIDDEN)
    stack = torch.from_numpy(values)
    found = in_order(stack, spec, decompose(stack, NUM_FEATURES)).numpy()
    for ours, matrix in zip(found, values, strict=True):
        assert np.array_equal(ours, canonicalise(matrix, seriate_tensor(matrix, spec)))


@pytest.mark.parametrize("row_axis", [Axis.HIDDEN, Axis.ATTENTION])
def test_a_longer_axis_is_cut_into_leaves_as_on_the_host(row_axis: Axis, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pipeline.order", "pipeline.dense.ordering"):
        monkeypatch.setattr(f"{module}.LARGEST_CHAIN", 20)
    monkeypatch.setattr("pipeline.order.LEAF", 8)
    values, spec = matrices(60, 12), matrix_spec("any", 60, 12, row_axis=row_axis)
    stack = torch.from_numpy(values)
    found = in_order(stack, spec, decompose(stack, NUM_FEATURES)).numpy()
    assert ordering.LARGEST_CHAIN == 20
    for ours, matrix in zip(found, values, strict=True):
        assert np.array_equal(ours, canonicalise(matrix, seriate_tensor(matrix, spec)))


@pytest.mark.parametrize("is_centred", [True, False])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_clusters_are_those_of_one_matrix_at_a_time(count: int, is_centred: bool) -> None:
    values = matrices(60, 12)
    points, first = directions(torch.from_numpy(values), num_steps=CENTRE_STEPS if is_centred else 0, rounding=ROUNDING)
    found = cluster(points, farthest_first(points, count, first), 12)
    for place, matrix in enumerate(values):
        alone = cluster_rows(matrix, count, is_centred=is_centred)
        sizes = np.sort(found.counts[place].numpy())[::-1] / 60
        assert sizes == pytest.approx(alone.sizes)
        own = found.distances[place].numpy()[np.arange(60), found.labels[place].numpy()]
        assert own == pytest.approx(found.distances[place].numpy().min(axis=1))


def test_rows_of_zeros_stay_at_the_origin() -> None:
    points, first = directions(torch.zeros(1, 4, 3), num_steps=3, rounding=ROUNDING)
    assert points.abs().sum() == 0
    assert cluster(points, farthest_first(points, 2, first), 3).distances.isfinite().all()
