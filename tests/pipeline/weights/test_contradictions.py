"""Configs that contradict the tensors beside them."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.weights.contradictions import contradictions
from tests.support.tensor_headers import FOLDER, load_fixture
from zoo.roles import describe_tensors
from zoo.tensors import TensorHeader

KEYS = sorted(path.name.removesuffix(".json.gz") for path in Path(FOLDER).glob("*.json.gz"))


def found(key: str, **changes: Any) -> tuple[str, ...]:
    """What is said of a model of the zoo, at full size, whose config is changed."""
    fixture = load_fixture(key)
    config = {**fixture.config, **changes}
    return contradictions(config, describe_tensors(fixture.read, config))


@pytest.mark.parametrize("key", KEYS)
def test_the_config_of_a_model_of_the_zoo_contradicts_nothing(key: str) -> None:
    assert found(key) == ()


@pytest.mark.parametrize(
    ("key", "change", "said"),
    [
        ("minilm-l6", {"num_hidden_layers": 12}, "12 layers (`num_hidden_layers`), and the tensors are of 6."),
        ("gpt2", {"n_layer": 6}, "6 layers (`n_layer`), and the tensors are of 12."),
        ("whisper-tiny", {"encoder_layers": 6}, "6 layers (`encoder_layers`), and the tensors are of 4."),
        ("minilm-l6", {"hidden_size": 768}, "a width of 768 (`hidden_size`), and the tensors have 384."),
        ("t5-small", {"d_model": 768}, "a width of 768 (`d_model`), and the tensors have 512."),
        ("minilm-l6", {"vocab_size": 50257}, "vocabulary of 50,257 (`vocab_size`), and the embedding has 30,522 rows."),
        ("gpt2", {"vocab_size": 30522}, "vocabulary of 30,522 (`vocab_size`), and the embedding has 50,257 rows."),
        ("minilm-l6", {"model_type": "gpt2"}, "'gpt2', and its tensors are named like those of 'bert'."),
        ("gpt2", {"model_type": "t5"}, "'t5', and its tensors are named like those of 'gpt2'."),
    ],
)  # fmt: skip
def test_each_lie_is_named_with_what_is_true(key: str, change: dict[str, Any], said: str) -> None:
    (sentence,) = found(key, **change)
    assert sentence.startswith("config.json says ") and sentence.endswith(said)


@pytest.mark.parametrize(
    "changes",
    [
        {"vocab_size": 30500},
        {"num_hidden_layers": None, "hidden_size": True, "vocab_size": "many"},
        {"model_type": ["x"]},
    ],
)
def test_padding_and_what_is_no_number_are_no_lie(changes: dict[str, Any]) -> None:
    assert found("minilm-l6", **changes) == ()


def test_one_stored_layer_that_serves_for_several_is_no_lie() -> None:
    assert found("albert-base", num_hidden_layers=24) == ()


def test_an_unknown_type_and_no_config_say_nothing() -> None:
    assert found("minilm-l6", model_type="mine") == ()
    assert contradictions({}, describe_tensors([TensorHeader(name="a", shape=(3, 4), dtype="F32")], {})) == ()
