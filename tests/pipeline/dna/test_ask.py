"""Likeness of two functions beside a null that keeps the simple explanations; peaks; places between the weights."""

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.dna.alike import compare_functions, layer_pairs, measure, role_pairs
from pipeline.dna.ask import ask, peaks_of, place_at
from pipeline.dna.dna import Dna
from pipeline.settings import FitSettings
from tests.support.dnas import BRIEF, SPECIMENS, fit_files
from tests.support.weight_files import files_of

Float64 = np.ndarray


def smooth(rng: np.random.Generator, rows: int = 40, cols: int = 30, rank: int = 3) -> Float64:
    """A function of eleven low frequencies along both axes."""
    x, y = np.linspace(0, np.pi, rows)[:, None], np.linspace(0, np.pi, cols)[:, None]
    k = np.arange(1, 12)
    left, right = (np.cos(axis * k) @ (rng.normal(size=(len(k), rank))) for axis in (x, y))
    return left @ right.T


def figures(a: Float64, b: Float64, seed: int = 0) -> dict[str, float]:
    return {name: value for name, value in measure(a, b, np.random.default_rng(seed)).items() if value is not None}


def test_figures_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    a, b = smooth(rng) + 0.5, smooth(rng) - 0.2
    found = figures(a, b)
    assert found["correlation"] == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1], abs=1e-12)
    assert found["cosine"] == pytest.approx((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-12)


def test_a_function_and_its_noisy_copy_are_found_alike_and_opposite() -> None:
    rng = np.random.default_rng(1)
    a = smooth(rng)
    b = a + 0.5 * a.std() * rng.normal(size=a.shape)
    for sign in (1, -1):
        found = figures(a, sign * b)
        assert sign * found["correlation"] > 0.8 and sign * found["z"] > 3 and found["p"] < 0.01


def test_means_that_are_shared_are_in_the_null() -> None:
    rng = np.random.default_rng(2)
    means = 40 * np.cos(np.linspace(0, 3, 40))[:, None] + 30 * np.linspace(-1, 1, 30)
    found = figures(smooth(rng) + means, smooth(rng) + means)
    assert found["correlation"] > 0.8 and abs(found["correlation"] - found["null_correlation"]) < 0.15
    assert found["p"] > 0.02


@pytest.mark.slow
def test_sizes_and_smoothness_that_are_shared_make_no_evidence() -> None:
    rng = np.random.default_rng(3)
    sizes = np.exp(-np.linspace(0, 3, 40))[:, None] * np.exp(-np.linspace(0, 2, 30))
    p = np.array([figures(sizes * smooth(rng), sizes * smooth(rng), seed)["p"] for seed in range(200)])
    # Independent pairs: the share below 0.1 has a standard deviation of 0.021.
    assert (p <= 0.1).mean() < 0.17 and (p <= 0.01).mean() <= 0.04


@pytest.mark.slow
def test_dna_of_shuffled_copies_are_as_alike_as_chance_has_it(tmp_path: Path) -> None:
    """What they share is the canonical order alone: the largest row first, each next to its nearest neighbour."""
    weights, generator = load_file(SPECIMENS / "bert-a" / "model.safetensors"), torch.Generator().manual_seed(1)
    for name, value in weights.items():
        if value.ndim > 1:
            weights[name] = value.flatten()[torch.randperm(value.numel(), generator=generator)].view(value.shape)
    save_file(weights, tmp_path / "model.safetensors")
    config = json.loads((SPECIMENS / "bert-a" / "config.json").read_text())
    settings = FitSettings(epochs=30, num_nulls=0)
    dna = fit_files(files_of(tmp_path / "model.safetensors", config=config), settings, tmp_path / "fit").dna
    found = compare_functions(dna, [("layers", pair) for pair in combinations(dna.tensors, 2)])
    p = np.array([pair.p for pair in found])
    assert len(p) == 210 and (p <= 0.05).mean() < 0.12 and min(pair.q for pair in found if pair.q is not None) > 0.05


# Pairs.


@pytest.fixture(scope="module")
def dna(tmp_path_factory: pytest.TempPathFactory) -> Dna:
    folder = SPECIMENS / "gpt2-a"
    files = files_of(folder / "model.safetensors", config=json.loads((folder / "config.json").read_text()))
    return fit_files(files, BRIEF, tmp_path_factory.mktemp("gpt2")).dna


def test_pairs_are_of_one_role_in_two_blocks_or_of_one_block(dna: Dna) -> None:
    layers, roles = layer_pairs(dna.tensors), role_pairs(dna.tensors)
    assert len(layers) == 6 * 3 and len(roles) == 3 * 3
    assert all(a.role is b.role and a.spec.block != b.spec.block for a, b in layers)
    assert all(a.role is not b.role and a.spec.block == b.spec.block for a, b in roles)


def test_an_answer_depends_on_the_seed_and_the_pair_alone(dna: Dna) -> None:
    together, alone = ask(dna, layers=True, roles=True), ask(dna, roles=True, tensors="*h.0*")
    by_pair = {(pair.a, pair.b): pair for pair in together.pairs}
    for pair in alone.pairs:
        assert replace(by_pair[pair.a, pair.b], q=pair.q) == pair
    assert ask(dna, roles=True, seed=1).pairs != ask(dna, roles=True).pairs


def test_one_network_for_the_model_has_no_p(tmp_path: Path) -> None:
    folder = SPECIMENS / "cnn-a"
    files = files_of(folder / "model.safetensors", config=json.loads((folder / "config.json").read_text()))
    found = ask(fit_files(files, replace(BRIEF, scope="model"), tmp_path).dna, layers=True)
    assert found.is_shared and found.pairs and all(pair.p is pair.q is pair.z is None for pair in found.pairs)


# Peaks and places.


def test_peaks_are_the_largest_beyond_the_means_and_apart(dna: Dna) -> None:
    tensor = dna.tensors[0]
    values = tensor.canonical().double().numpy()
    rest = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0, keepdims=True) + values.mean()
    found = peaks_of(tensor, 4)
    assert abs(found[0].deviations) * rest.std() == pytest.approx(np.abs(rest).max(), rel=1e-4)
    sizes = [abs(peak.deviations) for peak in found]
    assert sizes == sorted(sizes, reverse=True) and found[0].gaussian == pytest.approx(np.sqrt(2 * np.log(rest.size)))
    in_file = tensor.in_file_order()
    for peak in found:
        assert abs(float(in_file[peak.file_row, peak.file_col])) == pytest.approx(abs(peak.nearest), rel=1e-6)
        assert peak.value == pytest.approx(peak.nearest, rel=1e-2)


def test_a_place_between_weights_has_its_value_means_and_nearest_weight(dna: Dna) -> None:
    tensor = dna.tensors[0]
    place = place_at(tensor, 0.31, -1)
    assert place.value == pytest.approx(float(tensor.evaluate(0.31, -1)))
    canonical = tensor.canonical().double().numpy()
    means = canonical.mean(axis=1) + canonical[:, 0].mean() - canonical.mean()
    assert place.of_means == pytest.approx(np.interp(0.31, np.linspace(-1, 1, len(means)), means), rel=1e-6)
    assert (place.file_row, place.file_col) == (tensor.order.rows[round(1.31 / 2 * 47)], tensor.order.cols[0])
