"""Pictures are, to the pixel, those that somebody has looked at.

A hash holds for one version of matplotlib and of FreeType, which draws its letters. What changes a picture on purpose
changes its hash: look at the file that the failing test names, and put the new hash here.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from explorer.figures.frequencies import FrequenciesView, plot_frequencies
from explorer.figures.layer_spectra import LayerSpectraView, plot_layer_spectra
from explorer.figures.matrix import NAMES, MatrixView, plot_matrix
from explorer.figures.model_map import plot_model_map
from explorer.figures.questions import Effect, QuestionsView, plot_questions
from explorer.figures.rate import RatePoint, RateView, plot_rate
from explorer.figures.similarity import SimilarityView, plot_similarity
from explorer.figures.singular_values import SingularValuesView, plot_singular_values
from explorer.map_view import MapView
from explorer.maps import Agreement, Map
from explorer.style import drawing, save_figure
from pipeline.analyse.statistics.heavy_tail import PowerLaw

VERSIONS = {"matplotlib": "3.11.2", "freetype": "2.14.3"}
"""That the hashes were made with."""
HASHES = {
    "frequencies": "470de2dd09beb4cc",
    "layer-spectra": "5be0d96b19fa9f7e",
    "matrix": "d49c8c41fa0a15b7",
    "model-map": "5057b7799eeaba5f",
    "questions": "462c13aba0b81429",
    "rate": "52ae9c282be0aea5",
    "similarity": "89f2a8c7b0b555f0",
    "singular-values": "c73a3b488d02a4da",
}


def versions() -> dict[str, str]:
    import matplotlib.ft2font

    return {"matplotlib": matplotlib.__version__, "freetype": matplotlib.ft2font.__freetype_version__}


def words(kind: str) -> dict[str, Any]:
    name = "some-model: encoder.layer.0.attention.self.query.weight"
    return {"kind": kind, "subject": ("some-model",), "title": "A figure", "subtitle": name, "caption": "", "alt": ""}


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def singular_values() -> tuple[Any, Callable[[Any], Any]]:
    nulls = np.linspace(4, 0.5, 64) + np.linspace(0, 0.2, 3)[:, None]
    law = PowerLaw(alpha=2.5, distance=0.05, xmin=9.0, num_tail=16)
    view = SingularValuesView(
        **words("singular-values"), n=64, tensor="t", shape=(64, 64), values=np.linspace(10, 0.4, 64), nulls=nulls,
        edge=4.5, law=law,
    )  # fmt: skip
    return view, plot_singular_values


def matrix() -> tuple[Any, Callable[[Any], Any]]:
    panels = dict(zip(NAMES, rng().standard_normal((5, 24, 24)), strict=True))
    view = MatrixView(
        **words("matrix"), n=9216, tensor="t", shape=(96, 96), block=(4, 4), panels=panels, limit=2.5, r2=0.4,
        null_r2=0.1,
    )  # fmt: skip
    return view, plot_matrix


def frequencies() -> tuple[Any, Callable[[Any], Any]]:
    draws, is_row = rng().random((3, 30)), np.arange(30) < 15
    units = pd.DataFrame({
        "network": "rows.0", "unit": np.arange(30), "row_cycles": np.where(is_row, 20 * draws[0], 0),
        "col_cycles": np.where(is_row, 0, 30 * draws[1]), "depth_cycles": 0.0, "amplitude": draws[2] + 0.01,
    })  # fmt: skip
    return FrequenciesView(
        **words("frequencies"), n=30, tensor="t", shape=(64, 64), units_found=units, start=12.0
    ), plot_frequencies


def layer_spectra() -> tuple[Any, Callable[[Any], Any]]:
    roles = ("token_embedding", *["attention_query"] * 4, *["ffn_in"] * 4)
    view = LayerSpectraView(
        **words("layer-spectra"), n=9, names=tuple(f"t{number}" for number in range(9)), roles=roles,
        depths=tuple(np.linspace(0, 1, 9).tolist()), ratios=rng().standard_normal((9, 8)),
        z=4 * rng().standard_normal((9, 8)),
    )  # fmt: skip
    return view, plot_layer_spectra


def model_map() -> tuple[Any, Callable[[Any], Any]]:
    places = rng().standard_normal((12, 2))
    keys, labels = tuple(f"model-{number}" for number in range(12)), ("encoder", "decoder", "cnn") * 4
    found = Map(
        places=places, method="classical scaling", why="", neighbours=5, trust=0.93, null_trust=(0.7, 0.8), settings={}
    )
    agreed = Agreement(share=0.6, null_share=0.3, p=0.01, least_p=0.0005)
    view = MapView(
        **words("model-map"), n=12, names=keys, models=keys, labels=labels, label="architecture", point="models",
        places=places, found=found, agreement=agreed,
    )  # fmt: skip
    return view, plot_model_map


def similarity() -> tuple[Any, Callable[[Any], Any]]:
    places = rng().random((6, 3))
    kind = np.sqrt(((places[:, None] - places) ** 2).sum(axis=2))
    weights = np.where(kind < 0.5, kind, 1.0)
    view = SimilarityView(
        **words("similarity"), n=6, keys=tuple(f"model-{number}" for number in range(6)), by_weights=weights,
        by_kind=kind, merges=linkage(squareform(kind, checks=False), "average"),
    )  # fmt: skip
    return view, plot_similarity


def rate() -> tuple[Any, Callable[[Any], Any]]:
    bits = np.geomspace(0.05, 5, 25)
    names = ("bound", "SVD", "DCT", "SVD of the null", "DCT of the null")
    curves = {name: 1 - 2 ** (-2 * bits / (1 + place)) for place, name in enumerate(names)}
    points = tuple(
        RatePoint(code=code, width=width, bits=width / 50, r2=r2)
        for code, width, r2 in (("DNA", 32, 0.21), ("null", 32, 0.05), ("DNA", 8, 0.2), ("null", 8, 0.05))
    )
    return RateView(**words("rate"), n=1000, bits=bits, curves=curves, points=points), plot_rate


def questions() -> tuple[Any, Callable[[Any], Any]]:
    found = {"measure": "skill", "effect": 0.6, "low": 0.2, "high": 0.9, "p": 0.001, "q": 0.004}
    none = {"measure": "skill", "effect": None, "low": None, "high": None, "p": None, "q": None}
    effects = (
        Effect(question="modality", verdict="yes", models=20, lineages=12, **found),
        Effect(question="sharing", verdict="not enough models", models=20, lineages=3, **none),
    )
    return QuestionsView(**words("questions"), n=12, effects=effects), plot_questions


PICTURES = {
    "frequencies": frequencies,
    "layer-spectra": layer_spectra,
    "matrix": matrix,
    "model-map": model_map,
    "questions": questions,
    "rate": rate,
    "similarity": similarity,
    "singular-values": singular_values,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_is_the_one_that_was_looked_at(kind: str, tmp_path: Path) -> None:
    if versions() != VERSIONS and "CI" not in os.environ:
        pytest.skip(f"Pixels are compared with {VERSIONS}; here are {versions()}.")
    assert versions() == VERSIONS, "CI installs pinned versions: make the hashes anew with those."
    view, plot = PICTURES[kind]()
    path = tmp_path / f"{kind}.png"
    with drawing("light", 3.25):
        save_figure(plot(view).get_figure(root=True), path, dpi=100)
        plt.close("all")
    pixels = (plt.imread(path) * 255).round().astype(np.uint8)
    assert hashlib.sha256(pixels.tobytes()).hexdigest()[:16] == HASHES[kind], f"Look at {path}."
