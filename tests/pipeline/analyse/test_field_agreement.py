"""Agreement with the field: MiniLM-L6 as WeightWatcher and powerlaw see it.

The definitions behind the factors below are in docs/measurement.md, "Compared with WeightWatcher".
"""

import numpy as np
import pandas as pd
import pytest

from pipeline.analyse.statistics.heavy_tail import fit_power_law, measure_heavy_tail
from pipeline.analyse.statistics.lipschitz import log_spectral_norm
from pipeline.analyse.tensor import analyse_tensor
from pipeline.decomposition import singular_values
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.settings import AnalysisSettings
from pipeline.weights.files import WeightFiles
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from zoo.tensors import TensorSpec

pytestmark = pytest.mark.minilm
NORMS, ALPHA = 1e-3, 2e-2
NOT_IN_WEIGHTWATCHER = {"embeddings.token_type_embeddings"}
"""Two rows: fewer eigenvalues than its `min_evals`, and too few for an exponent here too."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> WeightFiles:
    return fetch(ModelRequest(name="minilm-l6"), home=tmp_path_factory.mktemp("home"), offline=True)


@pytest.fixture(scope="module")
def matrices(files: WeightFiles) -> dict[str, tuple[TensorSpec, np.ndarray]]:
    """Module -> its matrix, all rows, in file order: nothing compared here depends on the order."""
    with WeightReader(files) as reader:
        specs = [spec for spec in extract(files).specs if spec.is_matrix]
        return {spec.name.removesuffix(".weight"): (spec, reader.matrix(spec)) for spec in specs}


@pytest.fixture(scope="module")
def ours(matrices: dict[str, tuple[TensorSpec, np.ndarray]]) -> pd.DataFrame:
    """Module -> its heavy-tail statistics and its spectral norm."""
    spectra = {module: singular_values(matrix) for module, (_, matrix) in matrices.items()}
    rows = {
        module: {
            **measure_heavy_tail(spectrum),
            "lipschitz.log_norm": log_spectral_norm(spectrum),
            "num_values": len(spectrum),
        }
        for module, spectrum in spectra.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


@pytest.fixture(scope="module")
def theirs(files: WeightFiles) -> pd.DataFrame:
    """Module -> its row of WeightWatcher's details, as `analyze()` gives them without options."""
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel
    from weightwatcher import WeightWatcher

    model = BertModel(BertConfig(**files.config))
    model.load_state_dict(load_file(files.paths[0]), strict=False)
    return WeightWatcher(model=model).analyze().set_index("longname")


def test_both_analyse_the_same_layers(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    assert len(theirs) == 39
    assert set(ours.index) - set(theirs.index) == NOT_IN_WEIGHTWATCHER


def test_their_spectral_norm_is_our_square(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    squares = 10 ** (2 * ours.loc[theirs.index, "lipschitz.log_norm"])
    np.testing.assert_allclose(squares, theirs["spectral_norm"], rtol=NORMS)


def test_their_stable_rank_is_ours_times_the_rank(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    shares = ours.loc[theirs.index]
    np.testing.assert_allclose(
        shares["heavy_tail.stable_rank"] * shares["num_values"], theirs["stable_rank"], rtol=NORMS
    )


def test_their_log_norm_is_twice_ours(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    logs = 2 * ours.loc[theirs.index, "heavy_tail.log_norm"]
    np.testing.assert_allclose(logs, theirs["log_norm"], rtol=NORMS)
    np.testing.assert_allclose(10**logs, theirs["norm"], rtol=NORMS)


def test_alpha_and_its_distance_are_theirs(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    laws = ours.loc[theirs.index]
    np.testing.assert_allclose(laws["heavy_tail.alpha"], theirs["alpha"], rtol=ALPHA)
    np.testing.assert_allclose(laws["heavy_tail.ks"], theirs["D"], rtol=ALPHA)


def test_a_table_too_small_for_them_has_no_exponent_here(ours: pd.DataFrame) -> None:
    assert ours.loc[list(NOT_IN_WEIGHTWATCHER), "heavy_tail.alpha"].isna().all()


def test_the_analysis_of_a_model_reports_these_figures(
    matrices: dict[str, tuple[TensorSpec, np.ndarray]], ours: pd.DataFrame
) -> None:
    spec, matrix = matrices["encoder.layer.0.attention.self.key"]
    analysis = analyse_tensor(matrix, spec, settings=AnalysisSettings(num_nulls=0), seed=0)
    found = {item.name: item.value for item in analysis.measured}
    for name in set(ours.columns) - {"num_values"}:
        assert found[name] == pytest.approx(ours.loc["encoder.layer.0.attention.self.key", name], rel=1e-9)


# powerlaw asks its own distribution for a property that it deprecates.
@pytest.mark.filterwarnings("ignore:Standard error for the MLE:DeprecationWarning")
@pytest.mark.parametrize(
    "module",
    ["embeddings.position_embeddings", "encoder.layer.0.intermediate.dense", "encoder.layer.4.attention.self.value"],
)
def test_the_power_law_is_that_of_the_powerlaw_package(
    matrices: dict[str, tuple[TensorSpec, np.ndarray]], module: str
) -> None:
    from powerlaw import Fit

    eigenvalues = singular_values(matrices[module][1]) ** 2
    theirs = Fit(eigenvalues, parameter_ranges={"alpha": [1, 100]}, verbose=False)  # By default alpha ends at 3.
    ours = fit_power_law(eigenvalues)
    assert ours is not None
    assert ours.alpha == pytest.approx(theirs.power_law.alpha, rel=ALPHA)
    assert ours.xmin == pytest.approx(theirs.xmin, rel=ALPHA)
