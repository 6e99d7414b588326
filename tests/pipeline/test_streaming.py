"""Memory: a table of tokens may be most of a model, and no stage before or after the fit makes many copies of it."""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from pipeline.analyse.stage import analyse_model
from pipeline.analyse.tensor import analyse_tensor
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.fingerprint.fingerprint import measure_fingerprint
from pipeline.fingerprint.residual_frames import table_frame
from pipeline.order import CanonicalOrder, canonicalise, canonicalise_pieces, seriate, seriate_tensor
from pipeline.settings import AnalysisSettings
from pipeline.weights.files import WeightFiles
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from tests.support.small_models import analysed, matrix_spec, trained_model
from tests.support.tiny_models import make_tiny_checkpoint
from zoo.tensors import Axis, Role, TensorKind, TensorSpec

pytestmark = pytest.mark.slow

ROWS, COLS = 40_000, 256
TABLE_BYTES = 4 * ROWS * COLS
TABLE, COPY = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"
SAMPLED = AnalysisSettings(num_nulls=1, max_rows=256)


@contextmanager
def allocated() -> Iterator[Callable[[], float]]:
    """What the block allocates at most, over the bytes of the table in float32."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1] / TABLE_BYTES
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """What an analysis imports is no copy of a table."""
    analysed(trained_model(0), num_nulls=0, max_rows=64)


@pytest.fixture(scope="module")
def table() -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).standard_normal((ROWS, COLS), dtype=np.float32)


@pytest.fixture(scope="module")
def files(table: np.ndarray[Any, np.dtype[np.float32]], tmp_path_factory: pytest.TempPathFactory) -> WeightFiles:
    """A table of tokens in half precision, stored twice."""
    folder = tmp_path_factory.mktemp("table")
    half = table.astype(np.float16)
    save_file({TABLE: half, COPY: half}, folder / "model.safetensors")
    return fetch(ModelRequest(name=str(folder)), home=folder)


@pytest.fixture(scope="module")
def spec(files: WeightFiles) -> TensorSpec:
    (found,) = (spec for spec in extract(files).specs if spec.tensor == TABLE)
    return found


def test_fetching_reads_in_pieces(files: WeightFiles, tmp_path: Path) -> None:
    with allocated() as peak:
        fetch(ModelRequest(name=str(files.paths[0].parent)), home=tmp_path)
        assert peak() < 0.3


def test_extracting_looks_at_pieces_of_a_table_and_of_its_copy(files: WeightFiles) -> None:
    with allocated() as peak:
        inventory = extract(files)
        assert peak() < 0.5
    assert inventory.num_weights == ROWS * COLS


def test_a_table_in_half_precision_is_read_into_one_array(files: WeightFiles, spec: TensorSpec) -> None:
    with WeightReader(files) as reader, allocated() as peak:
        reader.matrix(spec)
        assert peak() < 1.2


def test_ordering_needs_less_than_another_table(table: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    with allocated() as peak:
        seriate(table, row_axis=Axis.VOCABULARY, col_axis=Axis.RESIDUAL, free_col_signs=True)
        assert peak() < 1.0


def test_the_canonical_form_is_one_more_table(table: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    rows, cols = (np.arange(size, dtype=np.int32)[::-1] for size in table.shape)
    order = CanonicalOrder(rows=rows, cols=cols, col_signs=np.ones(COLS, dtype=np.int8))
    with allocated() as peak:
        canonicalise(table, order)
        assert peak() < 1.1


def test_a_sampled_table_is_analysed_in_little_memory(table: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    words = matrix_spec("words", ROWS, COLS, role=Role.TOKEN_EMBEDDING, row_axis=Axis.VOCABULARY)
    with allocated() as peak:
        analyse_tensor(table, words, settings=SAMPLED, seed=0)
        assert peak() < 0.25


def test_analysing_a_model_reads_of_a_table_what_it_samples(files: WeightFiles, spec: TensorSpec) -> None:
    with WeightReader(files) as reader:
        order = seriate_tensor(reader.matrix(spec), spec)
        with allocated() as peak:
            analyse_model(
                [spec],
                lambda _, rows: canonicalise_pieces(reader.pieces(spec), order, rows),
                in_file_order=reader.pieces,
                settings=SAMPLED,
                seed=0,
            )
            assert peak() < 0.25


def test_fingerprint_takes_a_table_in_blocks(
    files: WeightFiles, spec: TensorSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.fingerprint.residual_frames.ROWS_AT_A_TIME", 2048)
    place = {"block": 0, "depth": 0.5}
    enter = matrix_spec("bert.encoder.layer.0.intermediate.weight", 64, COLS, role=Role.FFN_IN, **place)
    leave = matrix_spec("bert.encoder.layer.0.output.weight", COLS, 64, role=Role.FFN_OUT, **place)
    small = {each: np.ones((each.rows, each.cols), dtype=np.float32) for each in (enter, leave)}
    with WeightReader(files) as reader, allocated() as peak:
        found = measure_fingerprint(
            [spec, *small], lambda each: [small[each]] if each in small else reader.pieces(each)
        )
        assert peak() < 0.5
    assert [part.kind for part in found] == ["feed inputs inputs 16x16"]


@pytest.mark.parametrize("size", [1, 700, 2500])
def test_what_a_table_answers_does_not_depend_on_the_pieces(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.fingerprint.residual_frames.ROWS_AT_A_TIME", 1000)
    words = matrix_spec("words", 2500, 32, role=Role.TOKEN_EMBEDDING, row_axis=Axis.VOCABULARY)
    matrix = np.random.default_rng(0).standard_normal((2500, 32), dtype=np.float32)
    pieces = [matrix[start : start + size] for start in range(0, 2500, size)]
    assert np.array_equal(table_frame(pieces, words), table_frame([matrix], words))


@pytest.mark.parametrize("key", ["distilgpt2", "mobilevit-small", "tinybert"])
def test_pieces_are_the_rows_of_the_matrix(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.weights.reader.PIECE", 100)
    files = fetch(ModelRequest(name=str(make_tiny_checkpoint(key, tmp_path, 0).parent)), home=tmp_path)
    specs = [spec for spec in extract(files).specs if spec.kind is TensorKind.WEIGHT]
    with WeightReader(files) as reader:
        for spec in specs:
            assert np.array_equal(np.concatenate(list(reader.pieces(spec))), reader.matrix(spec)), spec.name
