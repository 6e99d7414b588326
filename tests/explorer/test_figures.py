"""Every kind of figure: its numbers are what a direct computation gives, its null is there, its artists show them."""

from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from scipy.fft import dctn

from explorer.figures.manifold import manifold_view
from explorer.figures.matrix import matrix_view
from explorer.figures.spectrum import spectrum_of
from explorer.figures.tensor_map import values_of
from explorer.kinds import KINDS
from explorer.plotting import draw, make_view
from explorer.points import quotas
from explorer.samples import block_means, sample_of
from explorer.source import Source
from explorer.style import ACCENT, drawing
from pipeline.analyse.aggregation import rise
from pipeline.analyse.signature import MATRIX_DIMENSIONS
from pipeline.analyse.statistics.spectra import measure_spectra
from pipeline.order import canonicalise, seriate

MODEL, TENSOR = "gpt2-a", "transformer.h.0.mlp.c_fc.weight"


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")


def view_of(source: Source, kind: str, **more: Any) -> Any:
    models = () if kind in ("tensor-map", "model-map") else (MODEL,)
    tensor = TENSOR if KINDS[kind].subject == "tensor" else None
    return make_view(source, kind, models, tensor=tensor, **more)


# Spectrum.


def noise(shape: tuple[int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def wave(shape: tuple[int, int], row: int, col: int) -> np.ndarray:
    rows, cols = (np.arange(length) + 0.5 for length in shape)
    return np.outer(np.cos(np.pi * row * rows / shape[0]), np.cos(np.pi * col * cols / shape[1])).astype(np.float32)


def test_a_planted_peak_is_found_and_named_and_noise_has_none() -> None:
    shape = (64, 48)
    nulls = [noise(shape, seed) for seed in range(1, 9)]
    planted = noise(shape, 0) + np.float32(0.4) * wave(shape, 12, 7)
    found = spectrum_of(planted, planted, nulls)
    (peak,) = found["peaks"]
    assert (peak.row, peak.col) == (12, 7) and peak.name == "6 along rows, 3.5 along columns"
    assert peak.ratio > found["threshold"] and found["num_peaks"] == 1
    false = [spectrum_of(noise(shape, seed), noise(shape, seed), nulls)["num_peaks"] for seed in range(100, 120)]
    assert sum(count > 0 for count in false) <= 6  # One in nine of exchangeable draws has the largest coefficient.


def test_a_ring_is_the_mean_energy_of_its_frequencies(source: Source) -> None:
    view = view_of(source, "spectrum")
    with source.matrices(MODEL) as matrices:
        canonical = sample_of(matrices[TENSOR]).canonical.astype(np.float64)
    energy = dctn(canonical - canonical.mean(), norm="ortho") ** 2
    energy *= (energy.size - 1) / energy.sum()
    radial = np.hypot(*np.meshgrid(*(np.arange(size) / size for size in energy.shape), indexing="ij")) / np.sqrt(2)
    assert int(view.counts.sum()) == energy.size - 1
    order = np.argsort(radial.ravel(), kind="stable")[1:]
    ends = np.cumsum(view.counts)
    for ring in (0, len(view.counts) // 2, len(view.counts) - 1):
        inside = order[ends[ring] - view.counts[ring] : ends[ring]]
        assert view.ring_canonical[ring] == pytest.approx(energy.ravel()[inside].mean(), rel=1e-3)
        assert view.radial[ring] == pytest.approx(radial.ravel()[inside].mean())
    assert view.ring_nulls.shape == (8, len(view.radial))
    weighted = (view.ring_nulls * view.counts).sum(axis=1) / view.counts.sum()
    assert np.allclose(weighted, 1.0)


def test_the_canonical_matrix_is_that_of_the_analysis(source: Source) -> None:
    with source.matrices(MODEL) as matrices:
        measured = {each.name: each.value for each in matrices.records[TENSOR].statistics}
        again = measure_spectra(sample_of(matrices[TENSOR]).canonical)
    assert again["spectra.low_share"] == pytest.approx(measured["spectra.low_share"], rel=1e-4)


def test_a_large_matrix_is_seen_by_some_of_its_rows(source: Source) -> None:
    with source.matrices(MODEL) as matrices:
        whole, some, again = (sample_of(matrices[TENSOR], most) for most in (4096, 20, 20))
        rows = {row.tobytes() for row in whole.in_file_order}
        assert not whole.is_sampled and some.is_sampled and some.canonical.shape == (20, whole.canonical.shape[1])
        assert all(row.tobytes() in rows for row in some.in_file_order) and "20 rows drawn at random" in some.said()
        assert np.array_equal(some.in_file_order, again.in_file_order)
        assert np.array_equal(np.sort(some.null(0), axis=None), np.sort(some.canonical, axis=None))


# Singular values.


def test_singular_values_are_those_of_a_decomposition(source: Source) -> None:
    view = view_of(source, "singular-values")
    with source.matrices(MODEL) as matrices:
        weights = matrices[TENSOR].in_file_order
    assert np.allclose(view.values, np.linalg.svd(weights.astype(np.float64), compute_uv=False), rtol=1e-5, atol=1e-6)
    assert view.edge == pytest.approx(weights.std() * (np.sqrt(weights.shape[0]) + np.sqrt(weights.shape[1])), rel=1e-5)
    assert view.nulls[:, 0].max() < 1.15 * view.edge
    with drawing("light", 3.25):
        axes = draw(view)
    lines = {line.get_label(): line for line in axes.lines}
    assert np.array_equal(lines["weights"].get_ydata(), view.values)
    assert to_hex(lines["weights"].get_color()).upper() == ACCENT and axes.get_xlabel() == f"rank (n = {view.n})"


# A matrix.


def test_panels_of_a_matrix_are_its_blocks(source: Source) -> None:
    with source.matrices(MODEL) as matrices:
        view, matrix = matrix_view(source, MODEL, TENSOR, most_cells=16), matrices[TENSOR]
        expected = {"file order": matrix.in_file_order, "canonical": matrix.canonical, "DNA": matrix.rebuilt}
        for name, values in expected.items():
            (rows, cols), cells = view.block, view.panels[name]
            assert cells[1, 2] == pytest.approx(values[rows : 2 * rows, 2 * cols : 3 * cols].mean(), abs=1e-6)
        assert np.allclose(view.panels["residual"], view.panels["canonical"] - view.panels["DNA"], atol=1e-6)
    assert all(max(cells.shape) <= 16 for cells in view.panels.values())
    with drawing("light", 3.25):
        images = [image for each in draw(view).get_figure(root=True).axes for image in each.get_images()]  # type: ignore[union-attr]
    assert len(images) == 5 and all(image.get_clim() == (-view.limit, view.limit) for image in images)


def test_block_means_take_every_weight_once() -> None:
    values = noise((37, 11), 0)
    cells, (rows, cols) = block_means(values, 8)
    assert cells.shape == (8, 6) and (rows, cols) == (5, 2)
    assert cells[7, 5] == pytest.approx(values[35:, 10:].mean()) and cells[0, 0] == pytest.approx(values[:5, :2].mean())
    assert np.array_equal(block_means(values, 40)[0], values.astype(np.float64))


def test_structure_shows_in_canonical_order_beyond_its_null() -> None:
    """What the picture rests on: hidden blocks come together, and shuffled values in order do not look like them."""
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.standard_normal((4, 4)), np.ones((16, 16))).astype(np.float32)
    hidden = (blocks + 0.5 * noise((64, 64), 1))[rng.permutation(64)][:, rng.permutation(64)]
    shuffled = rng.permutation(hidden.ravel()).reshape(64, 64)
    spread = [np.std(block_means(canonicalise(each, seriate(each)), 8)[0]) for each in (hidden, shuffled)]
    assert spread[0] > 2 * spread[1]


# Frequencies, layers.


def test_every_unit_of_the_dna_is_a_point(source: Source) -> None:
    view = view_of(source, "frequencies")
    expected = source.dna(MODEL)[TENSOR].frequencies()
    assert view.table().equals(expected)
    with drawing("light", 3.25):
        drawn = sum(len(part.get_offsets()) for part in draw(view).collections)
    assert drawn == int(((expected["row_cycles"] > 0) & (expected["amplitude"] > 0)).sum()) + int(
        ((expected["col_cycles"] > 0) & (expected["amplitude"] > 0)).sum()
    )


def test_bands_of_layers_are_those_of_the_database(source: Source) -> None:
    view = view_of(source, "layer-spectra")
    tensors = {each.name: each for each in source.pattern(MODEL).tensors}
    for place in (0, len(view.names) - 1):
        known = {each.name: each for each in tensors[view.names[place]].statistics}
        band = known["spectra.band_3"]
        assert band.null_mean is not None
        assert view.ratios[place, 3] == pytest.approx(np.log2(band.value / band.null_mean))
    assert view.n == len(source.dna(MODEL)) and list(view.table().columns[-2:]) == ["log2_ratio", "z"]


# The manifold.


def test_a_small_matrix_is_not_drowned_by_a_large_one() -> None:
    assert quotas([1_000_000, 10, 50], 100) == [45, 10, 45]
    assert quotas([5, 5], 100) == [5, 5] and sum(quotas([7, 1000, 900, 3], 501)) == 501


def test_points_of_a_manifold_are_weights_of_the_file(source: Source) -> None:
    view = manifold_view(source, MODEL, num_points=600)
    points = view.table()
    assert len(points) == 600 and points["tensor"].value_counts().max() == points["tensor"].value_counts().min()
    assert not points.duplicated(["tensor", "index_row", "index_col"]).any()
    with source.matrices(MODEL) as matrices:
        for row in points.iloc[:40].itertuples():
            matrix = matrices[row.tensor]
            (rows, cols), order = matrix.dna.shape, matrix.order
            assert abs(row.value) == pytest.approx(abs(matrix.in_file_order[row.index_row, row.index_col]))
            there = round((row.row + 1) / 2 * (rows - 1)), round((row.col + 1) / 2 * (cols - 1))
            assert (order.rows[there[0]], order.cols[there[1]]) == (row.index_row, row.index_col)
            assert row.value == pytest.approx(matrix.canonical[there])


def test_a_prefix_of_a_manifold_is_a_fair_sample(source: Source) -> None:
    points = manifold_view(source, MODEL, num_points=2000).table()
    counts = points.iloc[:200]["tensor"].value_counts()
    assert set(counts.index) == set(points["tensor"]) and counts.max() <= 2 * 200 / len(counts)


# Maps.


def test_a_tensor_is_where_its_statistics_put_it(source: Source) -> None:
    record = next(each for each in source.pattern(MODEL).tensors if each.name == TENSOR)
    values = dict(zip(MATRIX_DIMENSIONS, values_of(record), strict=True))
    known = {each.name: each for each in record.statistics}
    low = known["spectra.low_share"]
    assert low.null_mean is not None
    assert values["spectra.low_share"] == pytest.approx(rise(low.value, low.null_mean) / 0.4, rel=1e-4)
    assert values["dimension.rank_50"] == pytest.approx((known["dimension.rank_50"].value - 0.2) / 0.2, rel=1e-4)


def test_labels_and_names_of_a_map_are_drawn(source: Source) -> None:
    view = view_of(source, "model-map", by="modality")
    assert set(view.names) == {"gpt2-a", "vit-a", "cnn-a"} and set(view.labels) == {"text", "vision"}
    with drawing("light", 6.75):
        axes = draw(view)
    assert {text.get_text() for text in axes.texts} == set(view.names)
    legend = axes.get_legend()
    assert legend is not None and [text.get_text() for text in legend.get_texts()] == ["vision", "text"]
    assert "n = 3 models" in axes.get_xlabel() and "null" in axes.get_xlabel()
