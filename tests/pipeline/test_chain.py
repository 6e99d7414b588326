"""One tiny checkpoint of each of the fifteen architectures, through the whole chain in one run."""

import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from patterndb.records import PatternRecord, RunRecord
from pipeline.settings import AnalysisSettings
from tests.support.mining import FAST, STAGES, database_of, mine_into, request
from tests.support.tiny_models import make_tiny_checkpoint
from zoo.registry import CARDS
from zoo.tensors import Role

pytestmark = pytest.mark.slow

KEYS = sorted(CARDS)
SETTINGS = replace(FAST, fit=replace(FAST.fit, epochs=3), analysis=AnalysisSettings(num_nulls=4))
MAY_BE_NONE = {"r2_low", "r2_high", "sampled_weights", "null_r2_std", "means_null_r2_std"}
"""Of a fit on every weight with one null."""


Mined = tuple[RunRecord, dict[str, PatternRecord]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def mined(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Mined:
    """The run of all fifteen, and what it found in each."""
    folder = tmp_path_factory.mktemp("zoo")
    for seed, key in enumerate(KEYS):
        make_tiny_checkpoint(key, folder / key, seed)
    run = mine_into(home, [request(folder / key, key) for key in KEYS], SETTINGS)
    with database_of(home) as database:
        return run, {key: database.load_pattern(key, run=run.run) for key in KEYS}


def test_all_fifteen_are_done(mined: Mined) -> None:
    run, _ = mined
    assert len(KEYS) == 15
    assert {model.key: model.error for model in run.models} == dict.fromkeys(KEYS)
    assert (run.status, run.exit_code) == ("done", 0)
    assert all(tuple(stage.stage for stage in model.stages) == STAGES for model in run.models)


@pytest.mark.parametrize("key", KEYS)
def test_every_trained_weight_is_in_the_record(key: str, mined: Mined) -> None:
    pattern = mined[1][key]
    assert sum(tensor.num_weights for tensor in pattern.tensors) == pattern.model.num_weights > 0
    assert sum(role.weights for role in pattern.roles) == pattern.model.num_weights
    assert len({tensor.name for tensor in pattern.tensors}) == len(pattern.tensors)
    assert all(tensor.statistics for tensor in pattern.tensors)


@pytest.mark.parametrize("key", KEYS)
def test_every_matrix_is_fitted_and_nothing_else(key: str, mined: Mined) -> None:
    pattern = mined[1][key]
    for tensor in pattern.tensors:
        assert (tensor.fit is not None) == (tensor.rows > 1 and tensor.cols > 1), tensor.name
    assert pattern.fit is not None
    assert pattern.fit.num_weights == sum(tensor.num_weights for tensor in pattern.tensors if tensor.fit)


@pytest.mark.parametrize("key", KEYS)
def test_every_fit_report_is_complete_and_finite(key: str, mined: Mined) -> None:
    pattern = mined[1][key]
    owners = [pattern, *pattern.roles, *pattern.tensors]
    for values in (asdict(owner.fit) for owner in owners if owner.fit):
        assert {name for name, value in values.items() if value is None} <= MAY_BE_NONE
        assert all(math.isfinite(value) for value in values.values() if isinstance(value, float)), values
        assert values["r2"] <= 1 and 0 <= values["svd_r2"] <= 1 and values["gain"] == values["r2"] - values["null_r2"]


@pytest.mark.parametrize("key", KEYS)
def test_the_card_is_in_the_record(key: str, mined: Mined) -> None:
    model, card = mined[1][key].model, CARDS[key]
    assert (model.key, model.tier, model.modality, model.architecture) == (
        key,
        card.tier,
        card.modality,
        card.architecture,
    )
    assert model.revision is None  # The file is not the one that the card pins.


def test_signatures_have_the_same_dimensions(mined: Mined) -> None:
    signatures = [pattern.signature for pattern in mined[1].values()]
    assert len({(signature.version, signature.names) for signature in signatures}) == 1
    for signature in signatures:
        known = [value for value in signature.values if value is not None]
        assert len(signature.values) == len(signature.names) > len(known) > 0
        assert all(math.isfinite(value) for value in known)


@pytest.mark.parametrize("key", KEYS)
def test_random_weights_are_noisy(key: str, mined: Mined) -> None:
    pattern = mined[1][key]
    assert pattern.pattern_class == "noisy", pattern.class_scores
    assert set(pattern.class_scores) == {"smooth", "structured", "noisy", "sparse", "dense"}
    assert pattern.class_margin >= 0


@pytest.mark.parametrize("key", KEYS)
def test_next_to_nothing_is_of_no_role(key: str, mined: Mined) -> None:
    pattern = mined[1][key]
    others = sum(tensor.num_weights for tensor in pattern.tensors if tensor.role == Role.OTHER)
    # Tiny models have relatively more of what does not shrink with them than the full ones, where it is 1 %.
    assert others <= 0.05 * pattern.model.num_weights


@pytest.mark.usefixtures("mined")
def test_all_pairs_can_be_compared(home: Path) -> None:
    with database_of(home) as database:
        neighbours = database.get_similar_models("minilm-l6", top_k=14)
        distances = database.export_catalog("distances")
    assert len(neighbours) == 14 and all(math.isfinite(each.kind) for each in neighbours)
    assert len(distances) == 15 * 14 // 2
