"""What a model says of itself."""

from pathlib import Path

import pytest

from pipeline.fetch.model_card import describe
from zoo.tensors import Role, TensorSpec

CARD = """---
license: apache-2.0
base_model:
- someone/first
- "someone/second"
tags: [fill-mask, Distilled]
model-index:
- name: child
  results: []
---

# A child
base_model: not/this
"""


def spec(block: int | None, depth: float | None) -> TensorSpec:
    return TensorSpec(name="w", tensor="w", dtype="F32", rows=2, cols=2, role=Role.FFN_IN, block=block, depth=depth)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "README.md"
    path.write_text(text)
    return path


def test_a_card_declares_parents_licence_and_distillation(tmp_path: Path) -> None:
    said = describe({}, written(tmp_path, CARD), ())
    assert said["parents"] == ("someone/first", "someone/second")
    assert (said["licence"], said["is_distilled"]) == ("apache-2.0", True)


@pytest.mark.parametrize("text", ["", "# No head\nbase_model: x\n", "---\nbase_model: x\n", "---\ntags:\n---\n"])
def test_a_card_without_a_head_declares_nothing(text: str, tmp_path: Path) -> None:
    said = describe({}, written(tmp_path, text), ())
    assert (said["parents"], said["licence"], said["is_distilled"]) == ((), None, None)


def test_no_card_declares_nothing(tmp_path: Path) -> None:
    assert describe({}, tmp_path / "README.md", ())["parents"] == ()


@pytest.mark.parametrize(
    ("name", "objective"),
    [
        ("BertForMaskedLM", "masked-lm"),
        ("BertForPreTraining", "masked-lm"),
        ("ElectraForPreTraining", "replaced-token-detection"),
        ("GPT2LMHeadModel", "causal-lm"),
        ("ViTForImageClassification", "classification"),
        ("WhisperForConditionalGeneration", "transcription"),
        ("BertModel", None),
    ],
)
def test_the_saved_class_says_what_was_trained_for(name: str, objective: str | None, tmp_path: Path) -> None:
    config = {"model_type": "x", "architectures": [name]}
    assert describe(config, tmp_path / "README.md", ())["objective"] == objective


def test_a_block_without_depth_is_a_shared_layer(tmp_path: Path) -> None:
    for specs, expected in (((spec(0, None),), True), ((spec(0, 0.5),), False), ((spec(None, 0.0),), None)):
        assert describe({}, tmp_path / "README.md", specs)["shares_layers"] is expected
