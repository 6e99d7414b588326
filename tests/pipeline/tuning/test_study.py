"""Searching the settings of a fit: trials are kept, failures are told, and nobody's tables are touched."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from sqlalchemy import create_engine, inspect

from dna_zoo.errors import SettingsError, StoreError
from patterndb.connection.engine import parse_url
from patterndb.connection.schema import current
from patterndb.store import PatternDatabase
from pipeline.fetch.request import ModelRequest
from pipeline.settings import RATE_BESIDE_ADAM, FitSettings, Optimizer, preset
from pipeline.tuning import study
from pipeline.tuning.space import SPACES, TRAINING, values_of
from pipeline.tuning.storage import SCHEMA, open_storage, storage_url
from pipeline.tuning.study import TuneResult, representative, tune
from pipeline.tuning.worker import run_job
from tests.support.small_models import encoder_specs

pytestmark = pytest.mark.slow

BASE = preset("quick", budget=0.2)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of one small matrix with something in it."""
    rng = np.random.default_rng(0)
    values = np.outer(rng.standard_normal(24), rng.standard_normal(16)) + 0.1 * rng.standard_normal((24, 16))
    (tmp_path / "model").mkdir()
    save_file({"encoder.layer.0.output.dense.weight": values.astype(np.float32)}, tmp_path / "model/model.safetensors")
    (tmp_path / "model/config.json").write_text('{"model_type": "bert"}')
    return tmp_path / "model"


def search(model: Path, num_trials: int, base: FitSettings = BASE, **more: Any) -> TuneResult:
    url = f"sqlite:///{model.parent / 'zoo.db'}"
    return tune(ModelRequest(name=str(model)), base, database_url=url, home=model.parent, num_trials=num_trials, **more)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials without a process of their own, which takes seconds to start."""
    monkeypatch.setattr(study, "_in_fresh_process", run_job)


@pytest.mark.slow
def test_a_trial_has_a_process_of_its_own(model: Path) -> None:
    (trial,) = search(model, 1).trials
    assert trial.outcome is not None and trial.outcome.peak_bytes >= 0


@pytest.mark.usefixtures("in_this_process")
def test_a_search_measures_and_goes_on_where_it_stopped(model: Path) -> None:
    first, second = (search(model, 1, with_training=True) for _ in range(2))
    assert search(model, 0).trials == ()
    assert set(first.trials[0].values) == set(SPACES["separable"]) | set(TRAINING)
    assert (len(first.trials), len(second.trials)) == (1, 2)
    assert second.trials[0].outcome == first.trials[0].outcome and any(trial.is_on_front for trial in second.trials)
    outcome = first.trials[0].outcome
    assert outcome is not None and outcome.gain == pytest.approx(outcome.r2 - outcome.null_r2)
    assert outcome.weights_per_second == pytest.approx(2 * 24 * 16 / outcome.seconds)


@pytest.mark.parametrize("optimizer", RATE_BESIDE_ADAM)
def test_a_learning_rate_is_tried_at_the_scale_of_the_optimiser(optimizer: Optimizer) -> None:
    asked = {"rank": 4, "num_layers": 2, "bandwidth": 1.0, "learning_rate": 0.02, "epochs": 100}
    values = values_of(asked | {"optimizer": optimizer, "schedule": "plateau"}, BASE)
    assert values == asked | {
        "optimizer": optimizer, "schedule": "plateau", "learning_rate": 0.02 * RATE_BESIDE_ADAM[optimizer]
    }  # fmt: skip
    assert values_of(asked, BASE) == asked
    assert values_of(asked, replace(BASE, optimizer=optimizer)) == asked | {"learning_rate": values["learning_rate"]}


@pytest.mark.usefixtures("in_this_process")
def test_a_trial_that_fails_is_kept_with_its_reason(model: Path) -> None:
    found = search(model, 1, replace(BASE, precision="fp16", dna_type="spectral", hidden_dim=1), device="nowhere")
    assert found.trials[0].outcome is None and not found.trials[0].is_on_front
    assert "nowhere" in found.trials[0].error


def test_a_search_without_nulls_is_refused(model: Path) -> None:
    with pytest.raises(SettingsError, match="memorised noise"):
        search(model, 1, replace(BASE, num_nulls=0))


def test_no_time_left_begins_no_trial(model: Path) -> None:
    assert search(model, 3, max_seconds=0.0).trials == ()


@pytest.mark.parametrize("kind", SPACES)
def test_every_end_of_a_space_is_a_valid_setting(kind: str) -> None:
    for pick in (0, -1):
        ends: dict[str, Any] = {
            name: domain.choices[pick] if hasattr(domain, "choices") else (domain.low, domain.high)[pick]
            for name, domain in (SPACES[kind] | TRAINING).items()
        }
        assert replace(preset("quick", dna_type=kind), **ends).epochs == ends["epochs"]


def test_one_matrix_of_each_role_represents_a_model() -> None:
    specs = [spec for spec in encoder_specs(3) if spec.is_matrix]
    chosen = representative(specs)
    assert len({spec.role for spec in chosen}) == len(chosen) == len({spec.role for spec in specs})
    assert {spec.block for spec in chosen} == {None, 1}


def test_trials_lie_beside_the_patterns(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'zoo.db'}"
    with open_storage(url), PatternDatabase.open(url) as database:
        assert database.runs() == ()
    assert storage_url(url).endswith("zoo.tuning.db") and (tmp_path / "zoo.tuning.db").exists()


@pytest.mark.postgres
def test_on_postgresql_trials_have_a_schema_of_their_own(migrated_postgres: str) -> None:
    before = current(migrated_postgres)
    with open_storage(migrated_postgres):
        pass
    engine = create_engine(parse_url(migrated_postgres))
    tables = inspect(engine)
    assert "trials" in tables.get_table_names(SCHEMA) and "trials" not in tables.get_table_names("public")
    assert current(migrated_postgres) == before
    engine.dispose()


def test_a_database_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "zoo.tuning.db").mkdir()
    with pytest.raises(StoreError, match="Cannot open"), open_storage(f"sqlite:///{tmp_path / 'zoo.db'}"):
        pass
