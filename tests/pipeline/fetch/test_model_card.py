"""What a model says of itself."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.fetch.model_card import describe, model_record
from pipeline.weights.inventory import Inventory
from tests.support.make_model_types import PAGE, model_types
from tests.support.weight_files import files_of
from zoo.registry import CARDS
from zoo.tensors import Role, TensorSpec

WEIGHTS = Path("model.safetensors")
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


DAMAGED = {
    "empty": "",
    "no head": "# No head\nbase_model: x\n",
    "head without end": "---\nbase_model: x\n",
    "empty list": "---\ntags:\n---\n",
    "no YAML": "---\nbase_model: [\n---\n",
    "no mapping": "---\n- base_model\n---\n",
    "no texts": "---\nbase_model: [1, {a: b}]\nlicense: {a: b}\ntags: 3\n---\n",
    "an object of Python": "---\nlicense: !!python/object/apply:os.getcwd []\n---\n",
    "a date that is none": "---\nlicense: 2020-99-99\n---\n",
    "nested too deep": "---\n" + "[" * 10_000 + "\n---\n",
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_card_without_a_sound_head_declares_nothing(text: str, tmp_path: Path) -> None:
    said = describe({}, written(tmp_path, text), ())
    assert (said["parents"], said["licence"], said["is_distilled"]) == ((), None, None)


def test_bytes_that_are_no_text_declare_nothing(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(b"---\nlicense: \xff\n---\n")
    assert describe({}, tmp_path / "README.md", ())["licence"] is None


@pytest.mark.parametrize("text", ["# A title alone\n", "---\nmodel-index: [1]\n---\n"])
def test_nothing_is_printed_of_a_card_without_a_sound_head(
    text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    describe({}, written(tmp_path, text), ())
    assert capfd.readouterr() == ("", "")


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
        ("XLNetLMHeadModel", None),
        ("XLMWithLMHeadModel", None),
        ("BartForConditionalGeneration", None),
        ("BertModel", None),
    ],
)
def test_the_saved_class_says_what_was_trained_for(name: str, objective: str | None, tmp_path: Path) -> None:
    config = {"model_type": "x", "architectures": [name]}
    assert describe(config, tmp_path / "README.md", ())["objective"] == objective


def test_a_block_without_depth_is_a_shared_layer(tmp_path: Path) -> None:
    for specs, expected in (((spec(0, None),), True), ((spec(0, 0.5),), False), ((spec(None, 0.0),), None)):
        assert describe({}, tmp_path / "README.md", specs)["shares_layers"] is expected


# The record.


def test_a_model_with_a_card_is_what_its_card_says() -> None:
    record = model_record(
        files_of(WEIGHTS, config={"model_type": "other"}, card="minilm-l6"),
        Inventory(specs=(), num_weights=7, num_tensors=2),
    )
    card = CARDS["minilm-l6"]
    assert (record.tier, record.family, record.licence) == (card.tier, card.family, card.licence)
    assert (record.parents, record.objective) == (card.parents, card.objective)
    assert (record.key, record.num_weights, record.num_tensors) == ("tiny", 7, 2)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "bert"}, ("bert", "text", "encoder")),
        ({"model_type": "gpt2"}, ("gpt2", "text", "decoder")),
        ({"model_type": "vit"}, ("vit", "vision", "encoder")),
        ({"model_type": "mobilenet_v2"}, ("mobilenet_v2", "vision", "cnn")),
        ({"model_type": "whisper", "is_encoder_decoder": True}, ("whisper", "audio", "encoder-decoder")),
        ({"model_type": "whisper"}, ("whisper", "audio", "encoder-decoder")),
        ({"model_type": "llava"}, ("llava", "multimodal", None)),
        ({"model_type": "clip", "architectures": ["CLIPVisionModel"]}, ("clip", "vision", None)),
        ({"model_type": "siglip", "architectures": ["SiglipForImageClassification"]}, ("siglip", "vision", None)),
        (
            {"model_type": "speech_to_text", "architectures": ["Speech2TextModel"]},
            ("speech_to_text", "audio", "encoder-decoder"),
        ),
        ({"model_type": "clip_text_model"}, ("clip_text_model", "text", None)),
        ({"model_type": "bert", "architectures": ["BertLMHeadModel"]}, ("bert", "text", "decoder")),
        ({"model_type": "bart", "architectures": ["BartForCausalLM"]}, ("bart", "text", "decoder")),
        ({"model_type": "xlnet"}, ("xlnet", "text", None)),
        ({"model_type": "of_tomorrow"}, ("of_tomorrow", None, None)),
        ({"model_type": 3}, (None, None, None)),
        ({}, (None, None, None)),
    ],
)
def test_a_model_without_a_card_is_what_its_config_says(config: dict[str, Any], expected: tuple[str, ...]) -> None:
    record = model_record(files_of(WEIGHTS, config=config), Inventory(specs=(), num_weights=7, num_tensors=2))
    assert (record.family, record.modality, record.architecture) == expected
    assert (record.tier, record.licence, record.parents) == (None, None, ())


def test_the_model_card_beside_the_weights_says_whose_child_it_is(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nbase_model: someone/parent\nlicense: mit\n---\n\n# A child\n")
    files = files_of(tmp_path / "model.safetensors", config={"model_type": "bert"})
    record = model_record(files, Inventory(specs=(), num_weights=7, num_tensors=2))
    assert (record.parents, record.licence, record.family) == (("someone/parent",), "mit", "bert")


# Every class of the installed `transformers`.


def test_the_model_types_are_those_of_the_installed_transformers() -> None:
    assert json.loads(PAGE.read_text()) == model_types()


FACTS_OF = {
    "CAUSAL_LM": ({"text"}, {"decoder", None}, "causal-lm"),
    "MASKED_LM": ({"text"}, {"encoder", "encoder-decoder", None}, "masked-lm"),
    "SEQ_TO_SEQ_CAUSAL_LM": ({"text"}, {"encoder-decoder"}, None),
    "SEQUENCE_CLASSIFICATION": ({"text"}, {"encoder", "decoder", "encoder-decoder", None}, "classification"),
    "QUESTION_ANSWERING": ({"text"}, {"encoder", "decoder", "encoder-decoder", None}, "question-answering"),
    "IMAGE_CLASSIFICATION": ({"vision"}, {"encoder", "cnn", "hybrid", "decoder", None}, "classification"),
    "MASKED_IMAGE_MODELING": ({"vision"}, {"encoder", None}, "masked-image"),
    "SEMANTIC_SEGMENTATION": ({"vision"}, {"encoder", "cnn", "hybrid", None}, "segmentation"),
    "OBJECT_DETECTION": ({"vision"}, {"encoder", None}, "detection"),
    "CTC": ({"audio"}, {"encoder"}, "transcription"),
    "AUDIO_CLASSIFICATION": ({"audio"}, {"encoder", "encoder-decoder"}, "classification"),
    "SPEECH_SEQ_2_SEQ": ({"audio"}, {"encoder-decoder"}, None),
    "IMAGE_TEXT_TO_TEXT": ({"multimodal"}, {None}, None),
    "ZERO_SHOT_IMAGE_CLASSIFICATION": ({"multimodal"}, {None}, None),
}
"""List of classes -> what they are, but for those of another modality, and their objective where names tell."""
FOREIGN = {
    "CAUSAL_LM": {"multimodal", "audio"},
    "MASKED_LM": {"multimodal", "vision", None},
    "SEQ_TO_SEQ_CAUSAL_LM": {"multimodal", "audio"},
    "SEQUENCE_CLASSIFICATION": {"multimodal", "vision", None},
    "QUESTION_ANSWERING": {"multimodal"},
    "IMAGE_CLASSIFICATION": {"multimodal", None},
    "SPEECH_SEQ_2_SEQ": {"multimodal"},
}


@pytest.mark.parametrize("task", FACTS_OF)
def test_every_class_of_a_list_is_what_the_list_says(task: str, tmp_path: Path) -> None:
    from transformers.models.auto import modeling_auto

    modalities, architectures, objective = FACTS_OF[task]
    of_another = 0
    classes = getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES")
    for kind, name in classes.items():
        names = name if isinstance(name, tuple) else (name,)
        said = describe({"model_type": kind, "architectures": [*names]}, tmp_path / "README.md", ())
        if said["modality"] in FOREIGN.get(task, set()):
            of_another += 1
            continue
        assert said["modality"] in modalities, (kind, name, said)
        assert said["architecture"] in architectures, (kind, name, said)
        if objective is not None:
            assert said["objective"] in (objective, None), (kind, name, said)
    assert of_another < len(classes) / 2
