"""What the product finds where the truth is known: the specimens' family tree, and the real MiniLM-L6."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from patterndb.store import PatternDatabase
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.fit.report import report
from pipeline.fit.stage import fit
from pipeline.order import canonicalise, seriate
from pipeline.runs.runner import mine
from pipeline.settings import AnalysisSettings, MineSettings, preset
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader

pytestmark = pytest.mark.slow

SPECIMENS = Path(__file__).parent.parent / "data" / "specimens"
FACTS = {path.parent.name: json.loads(path.read_text()) for path in sorted(SPECIMENS.glob("*/specimen.json"))}
FINE_TUNED = [name for name, facts in FACTS.items() if facts["relation"] == "fine-tuned"]


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PatternDatabase]:
    """All specimens, through the whole chain; one epoch, as signatures and classes do not depend on the fit."""
    home = tmp_path_factory.mktemp("home")
    settings = MineSettings(fit=preset("quick", epochs=1), analysis=AnalysisSettings(num_nulls=8))
    requests = [ModelRequest(name=str(SPECIMENS / name)) for name in FACTS]
    with PatternDatabase.open(f"sqlite:///{home / 'specimens.db'}") as database:
        assert mine(requests, settings, database=database, home=home).exit_code == 0
        yield database


def signature(database: PatternDatabase, name: str) -> np.ndarray:
    """The signature with NaN where the model has nothing, without what compares in the order of the file."""
    found = database.load_pattern(name).signature
    named = zip(found.names, found.values, strict=True)
    return np.array([np.nan if value is None else value for name, value in named if "/names_" not in name])


def test_a_permuted_copy_has_the_signature_of_its_original(mined: PatternDatabase) -> None:
    np.testing.assert_allclose(signature(mined, "bert-a-permuted"), signature(mined, "bert-a"), atol=1e-4)


def test_the_nearest_model_of_the_original_is_its_permuted_copy(mined: PatternDatabase) -> None:
    assert mined.get_similar_models("bert-a", top_k=1)[0].model == "bert-a-permuted"
    assert mined.get_similar_models("bert-a-permuted", top_k=1)[0].model == "bert-a"


@pytest.mark.parametrize("name", FINE_TUNED)
def test_the_nearest_of_a_fine_tuned_model_is_of_its_family(mined: PatternDatabase, name: str) -> None:
    nearest = mined.get_similar_models(name, top_k=1)[0].model
    assert FACTS[nearest]["root"] == FACTS[name]["root"]


def test_the_untrained_model_is_noisy(mined: PatternDatabase) -> None:
    pattern = mined.load_pattern("bert-untrained")
    assert pattern.pattern_class == "noisy"
    assert pattern.class_margin > 0.5


def test_not_every_trained_model_is_noisy(mined: PatternDatabase) -> None:
    classes = {name: mined.load_pattern(name).pattern_class for name in ("bert-a", "bert-b", "gpt2-a", "cnn-a")}
    assert "noisy" not in classes.values(), classes


@pytest.mark.minilm
def test_r2_of_one_layer_of_minilm_is_more_than_twice_that_of_its_null(tmp_path: Path) -> None:
    files = fetch(ModelRequest(name="minilm-l6"), home=tmp_path)
    specs = [spec for spec in extract(files).specs if spec.is_matrix and spec.block == 0]
    settings = preset("quick")
    with WeightReader(files) as reader:
        matrices = {spec.name: reader.matrix(spec) for spec in specs}
    orders = {s.name: seriate(matrices[s.name], row_axis=s.row_axis, col_axis=s.col_axis) for s in specs}
    result = fit(
        specs,
        lambda spec: canonicalise(matrices[spec.name], orders[spec.name]),
        settings,
        order_bits={name: order.bits for name, order in orders.items()},
        device="cpu",
        seed=0,
        directory=tmp_path / "fit",
    )
    assert result is not None
    pooled = report(result.tensors, settings, result.cost)
    assert pooled.null_r2 is not None
    assert pooled.r2 >= 2 * pooled.null_r2 > 0
    assert pooled.r2 > pooled.svd_r2
    assert pooled.mean_psnr > 40
    for item in result.tensors:
        single = report([item], settings, result.cost)
        assert single.r2_8bit is not None and single.r2 - single.r2_8bit <= 0.01, item.name
