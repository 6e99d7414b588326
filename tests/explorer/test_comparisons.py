"""Figures that compare: reconstruction, distances, tree, gain, rate, training, classes, questions."""

from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.cluster.hierarchy import leaves_list

from dna_zoo.errors import DnaFileError, NotMinedError, SettingsError
from explorer.figures.gain import gain_view
from explorer.figures.questions import interval_of_recalls, questions_view
from explorer.figures.rate import codes_at, rate_view
from explorer.figures.reconstruction import reconstruction_view
from explorer.figures.similarity import similarity_view
from explorer.figures.training import training_view
from explorer.figures.tree import tree_view
from explorer.kept import kept_fits, kept_history
from explorer.plotting import make_view
from explorer.source import Source
from patterndb.similarity import all_distances
from pipeline.analyse.questions import Group, ask
from pipeline.analyse.taxonomy import classify
from pipeline.decomposition import singular_values

MODEL, TENSOR = "gpt2-a", "transformer.h.0.mlp.c_fc.weight"


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")


# Reconstruction.


def test_what_a_reconstruction_says_of_the_dna_is_what_the_fit_reported(source: Source) -> None:
    view = reconstruction_view(source, MODEL, TENSOR)
    fit = next(each.fit for each in source.pattern(MODEL).tensors if each.name == TENSOR)
    assert fit is not None
    dna, null = view.metrics["DNA"], view.metrics["null"]
    assert (dna.r2, dna.rmse, dna.mae) == pytest.approx((fit.r2, fit.rmse, fit.mae), rel=1e-3)
    assert dna.psnr == pytest.approx(fit.psnr, abs=0.01)
    assert null.r2 == fit.null_r2 and view.metrics["DNA, 8 bits"].r2 == fit.r2_8bit
    assert null.rmse == pytest.approx(np.sqrt(fit.mean_mse * (1 - (fit.null_r2 or 0))), rel=1e-3)


def test_other_codes_have_no_more_bits_and_no_more_than_their_best(source: Source) -> None:
    view = reconstruction_view(source, MODEL, TENSOR)
    fit = next(each.fit for each in source.pattern(MODEL).tensors if each.name == TENSOR)
    assert fit is not None and fit.bits_per_weight_8bit is not None
    svd = view.metrics["SVD"]
    assert svd.bits_per_weight is not None and svd.bits_per_weight <= fit.bits_per_weight_8bit
    with source.matrices(MODEL) as matrices:
        weights = matrices[TENSOR].canonical
        energies = singular_values(weights) ** 2
    most = svd.bits_per_weight * weights.size / (3 * sum(weights.shape))  # At three bits a number, more ranks fit.
    best = energies[: int(most) + 2].sum() / (np.var(weights, dtype=np.float64) * weights.size)
    assert svd.r2 is not None and 0 < svd.r2 <= best


def test_the_panels_of_a_reconstruction_are_of_the_same_errors(source: Source) -> None:
    view = reconstruction_view(source, MODEL, TENSOR)
    with source.matrices(MODEL) as matrices:
        matrix = matrices[TENSOR]
        errors = np.abs(matrix.rebuilt - matrix.canonical)
        layers = {each.block: each.fit for each in source.pattern(MODEL).tensors if each.role == matrix.record.role}
    assert view.tiles.max() <= errors.max() and view.tiles.mean() == pytest.approx(errors.mean(), rel=0.02)
    values, shares = view.cumulative["DNA"]
    assert np.interp(0.5, shares, values) == pytest.approx(np.median(errors), rel=1e-6)
    blocks, left = view.by_layer["null"]
    assert left == pytest.approx([1 - layers[int(block)].null_r2 for block in blocks])  # type: ignore[union-attr,operator]
    centres, density = view.errors["SVD"]
    assert density.sum() * (centres[1] - centres[0]) == pytest.approx(1)


# Distances and the tree.


def test_a_similarity_matrix_has_the_distances_of_the_models(source: Source) -> None:
    view = similarity_view(source)
    entries = source.database.signatures(with_nulls=False)
    place = {entry.model.key: number for number, entry in enumerate(entries)}
    order = [place[key] for key in view.keys]
    assert np.array_equal(view.by_kind, all_distances(entries).kind[np.ix_(order, order)], equal_nan=True)
    assert sorted(view.keys) == sorted(place) and len(view.table()) == 3


def test_the_tree_is_that_of_the_taxonomy_and_crosses_nowhere(source: Source) -> None:
    view = tree_view(source)
    found = classify(source.database.signatures(with_nulls=False))
    assert view.merges[:, 2] == pytest.approx([merge.height for merge in found.merges])
    assert leaves_list(view.merges).tolist() == list(range(len(view.keys)))
    groups: list[set[str]] = [{key} for key in view.keys]
    for left, right, *_ in view.merges:
        groups.append(groups[int(left)] | groups[int(right)])
    assert groups[len(view.keys) :] == [{*merge.left, *merge.right} for merge in found.merges]


def test_one_model_has_no_tree_and_a_typing_error_is_told(source: Source) -> None:
    with pytest.raises(SettingsError, match="needs two mined models"):
        similarity_view(source, [MODEL])
    with pytest.raises(NotMinedError) as caught:
        tree_view(source, ["gpt2-b", "vit-a"])
    assert "gpt2-a" in caught.value.hint


# Fits.


def test_a_point_of_gain_is_the_weighted_mean_of_its_tensors(source: Source) -> None:
    view = gain_view(source, [MODEL])
    tensors = [each for each in source.pattern(MODEL).tensors if each.fit is not None]
    assert view.n == len(tensors)
    for point in view.points:
        own = [each.fit for each in tensors if (each.role, each.block) == (point.role, point.block)]
        gains = [fit.gain_beyond_means for fit in own if fit is not None]
        weights = [fit.num_weights for fit in own if fit is not None]
        assert point.gain == pytest.approx(np.average(gains, weights=weights))  # type: ignore[arg-type]


def test_rate_curves_pass_through_what_the_fit_reported(source: Source) -> None:
    fit, fits = source.pattern(MODEL).fit, kept_fits(source, MODEL)
    assert fit is not None and fit.bits_per_weight_8bit is not None
    bits = np.array([fit.bits_per_weight_8bit * fit.num_weights])
    codes = codes_at(fits, [each.baseline for each in fits], bits)
    assert codes["SVD"][0] == pytest.approx(fit.svd_bits_r2) and codes["DCT"][0] == pytest.approx(fit.dct_bits_r2)
    nulls = codes_at(fits, [each.null_baselines[0] for each in fits], bits)
    assert nulls["SVD"][0] == pytest.approx(fit.svd_bits_null_r2)
    view = rate_view(source, MODEL)
    assert {(point.code, point.r2) for point in view.points if point.width == 8} == {
        ("DNA", fit.r2_8bit), ("null", fit.null_r2_8bit),
    }  # fmt: skip
    assert all((np.diff(curve) >= -1e-12).all() for curve in view.curves.values())


def test_training_curves_are_the_kept_ones(source: Source) -> None:
    view, kept = training_view(source, MODEL), kept_history(source, MODEL)
    assert [list(stack.r2) for stack in view.stacks] == [[point["r2"] for point in each["points"]] for each in kept]
    weights = [each["points"][-1]["weights"] for each in kept]
    ends = [each["points"][-1]["null_r2"] for each in kept]
    assert view.null_r2[-1] == pytest.approx(np.average(ends, weights=weights))


def test_a_fit_whose_files_are_gone_is_told(source: Source, tmp_path: Path) -> None:
    elsewhere = Source(database=source.database, home=tmp_path)
    for look in (rate_view, training_view):
        with pytest.raises(DnaFileError, match="not in this home folder") as caught:
            look(elsewhere, MODEL)
        assert f"dna-zoo mine {MODEL}" in caught.value.hint


# Classes and questions.


def test_class_scores_are_those_of_the_models(source: Source) -> None:
    view = make_view(source, "class-scores")
    for key, row, winner in zip(view.keys, view.scores, view.winners, strict=True):
        pattern = source.pattern(key)
        assert dict(zip(view.classes, row, strict=True)) == pytest.approx(dict(pattern.class_scores))
        assert winner == pattern.pattern_class


def test_effects_are_the_answers_to_the_questions(source: Source) -> None:
    view = questions_view(source)
    found = ask(source.database.signatures(with_nulls=False), source.database.model_statistics())
    assert [(each.question, each.effect, each.q) for each in view.effects] == [
        (answer.name, answer.effect, answer.q) for answer in found.answers
    ]


def test_an_interval_of_one_recall_is_wilsons() -> None:
    low, high = interval_of_recalls([Group(label="a", models=10, lineages=10, recall=0.8)])
    assert (low, high) == pytest.approx((0.49016, 0.94331), abs=1e-4)  # Brown, Cai and DasGupta (2001).


def test_an_interval_of_a_mean_of_recalls_covers_it_as_often_as_it_says() -> None:
    rng, truth, sizes = np.random.default_rng(0), (0.6, 0.85), (8, 12)
    hits = 0
    for _ in range(2000):
        groups = [
            Group(label="a", models=size, lineages=size, recall=rng.binomial(size, share) / size)
            for share, size in zip(truth, sizes, strict=True)
        ]
        low, high = interval_of_recalls(groups)
        hits += low <= np.mean(truth) <= high
    assert 0.925 <= hits / 2000 <= 0.985
