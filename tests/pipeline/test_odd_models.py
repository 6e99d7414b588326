"""Odd models beside others: quantised copies are found, and partial, empty and tiny ones break nothing."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.layouts import LAYOUTS
from benchmarks.layouts.models import llama, save
from cli.commands.questions import _ask
from cli.findings import _reading_notes
from patterndb.exports.columns import TABLES
from patterndb.store import PatternDatabase
from pipeline.analyse.taxonomy import classify
from pipeline.lineage.mined import MinedLineage
from tests.support.mining import FAST, database_of, mine_into, request

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")]

QUANTISED = {
    "int8": "int8 by row",
    "nf4": "bitsandbytes, 4 bit",
    "gptq": "GPTQ, 4 bit",
    "awq": "AWQ",
    "llm-int8": "bitsandbytes, 8 bit",
    "fp8": "fp8 by block",
    "packed": "compressed-tensors, pack-quantized",
    "int": "compressed-tensors, int-quantized",
    "float": "compressed-tensors, float-quantized",
    "gguf": "GGUF, 8 bit, a whole model",
}
"""Key -> the layout that writes the original so."""
STRANGERS = ("stranger-1", "stranger-2")
SETTINGS = replace(FAST, fit=replace(FAST.fit, epochs=1), allow_partial=True)
ODD = ("partial", "constant", "one-matrix", "one-vector")


def write(folder: Path, name: str) -> Path:
    """The layout of that name, of `benchmarks.layouts`."""
    folder.mkdir()
    next(layout for layout in LAYOUTS if layout.name == name).write(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    for seed, key in enumerate(("original", *STRANGERS)):
        save(root / key, llama(seed))
    for key, name in QUANTISED.items():
        write(root / key, name)
    write(root / "partial", "codes without scales")
    write(root / "constant", "all matrices constant")
    name, matrix = next((name, value) for name, value in llama(7).items() if value.ndim == 2)
    save(root / "one-matrix", {name: matrix})
    save(root / "one-vector", {"model.norm.weight": np.linspace(1, 2, 32, dtype=np.float32)}, None)
    return {folder.name: folder for folder in root.iterdir()}


@pytest.fixture(scope="module")
def home(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    run = mine_into(home, [request(folder, key) for key, folder in folders.items()], SETTINGS)
    assert {each.key: each.error for each in run.models} == dict.fromkeys(folders)
    return home


@pytest.fixture
def database(home: Path) -> Iterator[PatternDatabase]:
    with database_of(home) as database:
        yield database


@pytest.mark.parametrize("key", QUANTISED)
def test_a_quantised_copy_is_found_kin_of_its_original(database: PatternDatabase, home: Path, key: str) -> None:
    family = {"original", *QUANTISED} - {key}
    ranked = [each for each in database.get_similar_models(key, len(QUANTISED) + 2) if each.weights is not None]
    assert {each.model for each in ranked[: len(family)]} == family
    found = database.compare_patterns("original", key)
    assert found.weights is not None and found.weights < 0.5
    assert all(database.compare_patterns(other, key).weights > 0.9 for other in STRANGERS)
    lineages = MinedLineage.of(database, home=home)
    assert lineages.compare("original", key).verdict == "same lineage"
    assert lineages.compare(STRANGERS[0], key).verdict == "no evidence"


def test_what_is_odd_is_said(database: PatternDatabase) -> None:
    said = database.load_pattern("constant").provenance
    assert len(said["constant"]) > 10 and any("constant" in note for note in said["notes"])
    assert "".join(_reading_notes(database.load_pattern("constant")))
    assert not list(_reading_notes(database.load_pattern("gptq")))  # Its bytes have a line of their own.
    models = {pattern.model.key: pattern.model for pattern in database.patterns()}
    assert database.partial_models() == {"partial"}
    assert models["gptq"].quantisation == "gptq 4 bit" and 4 < (models["gptq"].stored_bits or 0) < 8
    assert (models["one-matrix"].num_tensors, models["one-vector"].num_tensors) == (1, 1)


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_model_can_be_compared_with_any_other(
    database: PatternDatabase, home: Path, folders: dict[str, Path], odd: str
) -> None:
    lineages = MinedLineage.of(database, home=home)
    for other in folders:
        found = database.compare_patterns(odd, other)
        assert all(0 <= value for value in (found.weights, found.kind) if value is not None)
    for other in ("original", *ODD):
        if other != odd:
            assert lineages.compare(odd, other).verdict
    assert all(each.model != odd for each in database.get_similar_models(odd, len(folders)))


def test_odd_models_change_no_distance_of_the_others(
    database: PatternDatabase, folders: dict[str, Path], tmp_path: Path
) -> None:
    usual = ("original", "int8", *STRANGERS)
    mine_into(tmp_path, [request(folders[key], key) for key in usual], SETTINGS)
    with database_of(tmp_path) as alone:
        for other in usual[1:]:
            one, two = (each.compare_patterns("original", other) for each in (alone, database))
            assert (one.weights, one.kind, one.dimensions) == (two.weights, two.kind, two.dimensions)
        order = [each.model for each in alone.get_similar_models("original")]
    assert [each.model for each in database.get_similar_models("original", 20) if each.model in usual] == order


def test_trees_questions_and_exports_hold_with_odd_models(database: PatternDatabase, folders: dict[str, Path]) -> None:
    found = classify(database.signatures(with_nulls=False))
    assert set(found.models) == set(folders) and len(found.merges) == len(folders) - 1
    assert np.isfinite([merge.height for merge in found.merges]).all()
    assert _ask(database, (), 0).models == len(folders)
    for table in TABLES:
        assert len(database.export_catalog(table))
