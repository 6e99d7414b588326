"""Settings: validated when made, presets that fit the kind of DNA."""

import json
import math

import pytest

from dna_zoo.errors import SettingsError
from pipeline.settings import PRESETS, RATE_BESIDE_ADAM, AnalysisSettings, FitSettings, MineSettings, Optimizer, preset


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dna_type", "wavelet"),
        ("scope", "layer"),
        ("budget", 0.0),
        ("epochs", 0),
        ("rank", 0),
        ("learning_rate", -1.0),
        ("learning_rate", math.inf),
        ("clip_norm", 0.0),
        ("compile", "yes"),
        ("optimizer", "lion"),
        ("schedule", "linear"),
        ("momentum", 1.0),
        ("weight_decay", -0.1),
        ("warmup", 1.0),
        ("accumulate", 0),
        ("checkpoint_every", 0),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match=f"`{name}`") as caught:
        FitSettings(**{name: value})
    assert caught.value.hint


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_momentum_is_refused_where_there_is_none(optimizer: Optimizer) -> None:
    with pytest.raises(
        SettingsError, match=rf"^`momentum` is 0\.5, and `{optimizer}` keeps its own averages\.$"
    ) as caught:
        FitSettings(optimizer=optimizer, momentum=0.5)
    assert caught.value.hint == "Leave it out, or use one of: sgd, rmsprop, muon."


def test_batches_of_a_separable_dna_are_not_accumulated() -> None:
    with pytest.raises(SettingsError, match=r"^`accumulate` is 4, and a separable DNA sees whole matrices") as caught:
        FitSettings(accumulate=4)
    assert "--dna-type spectral" in caught.value.hint
    assert FitSettings(accumulate=4, dna_type="spectral").accumulate == 4


@pytest.mark.parametrize("optimizer", RATE_BESIDE_ADAM)
def test_a_rate_that_is_not_given_is_the_presets_scaled_for_the_optimiser(optimizer: Optimizer) -> None:
    for kind in ("separable", "spectral"):
        adam, other = (preset("quick", dna_type=kind, optimizer=name) for name in ("adam", optimizer))
        assert other.learning_rate == adam.learning_rate * RATE_BESIDE_ADAM[optimizer]
    assert preset("quick", optimizer=optimizer, learning_rate=0.5).learning_rate == 0.5
    assert preset("quick").learning_rate == FitSettings().learning_rate == 1e-2


def test_nulls_and_seeds_are_not_negative() -> None:
    with pytest.raises(SettingsError, match="num_nulls"):
        AnalysisSettings(num_nulls=-1)
    with pytest.raises(SettingsError, match="seed"):
        MineSettings(seed=-1)


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="'slow'") as caught:
        preset("slow")
    assert all(name in caught.value.hint for name in PRESETS)


def test_a_preset_takes_what_is_given_and_nothing_that_is_none() -> None:
    settings = preset("quick", epochs=7, rank=None)
    assert (settings.epochs, settings.rank) == (7, PRESETS["quick"].rank)


def test_the_reference_preset_is_the_idea_as_it_was_born() -> None:
    settings = preset("reference")
    assert (settings.dna_type, settings.scope, settings.hidden_dim, settings.num_layers) == (
        "hierarchical",
        "model",
        256,
        5,
    )
    assert (settings.learning_rate, settings.batch_size, settings.epochs) == (1e-4, 8192, 100)
    assert settings.precision == "bf16-on-cuda"


def test_a_pointwise_kind_is_not_trained_like_a_separable_one() -> None:
    quick, pointwise = preset("quick"), preset("quick", dna_type="adaptive")
    assert pointwise.learning_rate < quick.learning_rate
    assert pointwise.epochs < quick.epochs
    assert pointwise.omega > quick.omega and pointwise.precision == "auto"
    assert preset("quick", dna_type="adaptive", epochs=3).epochs == 3
    assert preset("reference", dna_type="separable").learning_rate == quick.learning_rate


def test_settings_are_plain_json() -> None:
    settings = MineSettings()
    assert json.loads(json.dumps(settings.as_dict())) == settings.as_dict()
