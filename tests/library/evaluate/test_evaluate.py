"""A rebuilt model beside the original and other codes: known answers, equal bits, and models that cannot be built."""

import json
import logging
import logging.handlers
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    BertConfig,
    BertForTokenClassification,
    CLIPConfig,
    CLIPModel,
    Mamba2Config,
    T5Config,
    T5ForConditionalGeneration,
    T5Model,
    ViTMAEConfig,
    ViTMAEModel,
    WhisperConfig,
    WhisperForAudioClassification,
    WhisperModel,
    XLNetConfig,
    XLNetLMHeadModel,
)

from dna_zoo.errors import SettingsError, UnbuildableModelError
from library.evaluate.behaviour import compare, run
from library.evaluate.choice import GivenInputs, choose_inputs, load_tokenizer
from library.evaluate.evaluate import CODES, Evaluation, evaluate
from library.evaluate.inputs import text_inputs
from library.evaluate.pictures import digit_pictures, picture_inputs
from library.evaluate.sounds import sound_inputs, synthetic_sounds
from library.models import Builder, Kind, kind_of
from library.rebuild.matrices import Request
from library.rebuild.source import MinedModel
from tests.support.rebuilding import SPECIMENS, mined
from tests.support.tiny_models import make_tiny_checkpoint

pytestmark = pytest.mark.slow

KINDS = {"bert-a": "masked-lm", "gpt2-a": "decoder", "vit-a": "classifier", "cnn-a": "classifier"}
FIGURES = {
    "masked-lm": {"agreement", "kl", "cosine", "cka", "loss"},
    "decoder": {"agreement", "kl", "perplexity"},
    "classifier": {"agreement", "kl"},
}


def build(folder: Path, scale: float = 1.0, architecture: str | None = None) -> torch.nn.Module:
    config = json.loads((folder / "config.json").read_text())
    config |= {"architectures": [architecture]} if architecture else {}
    state = {name: value * scale for name, value in load_file(folder / "model.safetensors").items()}
    return Builder.of(folder.name, config).build(state)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> MinedModel:
    return mined(tmp_path_factory.mktemp("home"), SPECIMENS / "vit-a", epochs=60)


@pytest.fixture(scope="module")
def found(model: MinedModel) -> Evaluation:
    return evaluate([model])


@pytest.mark.parametrize("name", KINDS)
def test_a_model_behaves_like_itself_and_not_like_another(name: str) -> None:
    original, other = build(SPECIMENS / name), build(SPECIMENS / name, 0.5)
    inputs = choose_inputs(original, SPECIMENS / name, GivenInputs())
    assert kind_of(original) == KINDS[name]
    first = run(original, inputs)
    same, different = compare(first, run(original, inputs)), compare(first, run(other, inputs))
    assert set(same) | set(first.own) == FIGURES[KINDS[name]]
    assert same["agreement"] == 1 and same["kl"] == 0
    assert different["kl"] > 0.01
    if "cosine" in same:
        assert same["cosine"] == pytest.approx(1) and same["cka"] == pytest.approx(1) and different["cosine"] < 0.99


def test_perplexity_and_loss_are_those_of_transformers() -> None:
    decoder = build(SPECIMENS / "gpt2-a")
    inputs = choose_inputs(decoder, SPECIMENS / "gpt2-a", GivenInputs())
    labels = inputs.batches[0].targets
    loss = decoder(**inputs.batches[0].arguments, labels=labels).loss.detach()
    assert run(decoder, inputs).own["perplexity"] == pytest.approx(float(loss.exp()), rel=1e-4)


def test_padding_does_not_enter_a_vector(tmp_path: Path) -> None:
    """A short text has the same vector beside a long one as alone."""
    encoder, texts, vectors = build(SPECIMENS / "bert-a", architecture="BertModel"), tmp_path / "texts", []
    assert kind_of(encoder) == "encoder"
    for lines in (["abc", "abd"], ["abc", "x = [1, 2, 3] + y"]):
        texts.write_text("\n".join(lines))
        found = run(encoder, choose_inputs(encoder, SPECIMENS / "bert-a", GivenInputs(texts=texts)))
        assert found.vectors is not None
        vectors.append(found.vectors[0])
    assert torch.allclose(vectors[0], vectors[1], atol=1e-5)


@pytest.mark.parametrize("kind", ["seq2seq", "classifier"])
def test_padding_is_no_prediction(kind: Kind) -> None:
    """A token beside padding counts once, whatever the longest text is."""
    sizes = {"vocab_size": 100, "num_labels": 3}
    config = {
        "seq2seq": T5Config(**sizes, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2),
        "classifier": BertConfig(
            **sizes, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
        ),
    }[kind]
    made = {"seq2seq": T5ForConditionalGeneration, "classifier": BertForTokenClassification}[kind](config).eval()
    tokenizer = load_tokenizer(SPECIMENS / "bert-a")
    texts = ["ab", "a longer text than that"]
    inputs = text_inputs(kind, texts, tokenizer, longest=64, source="texts", has_decoder=kind == "seq2seq")
    found = run(made, inputs)
    assert found.kind == kind and found.logits is not None
    assert len(found.logits) == sum(len(tokenizer(text)["input_ids"]) for text in texts)


def test_a_model_that_needs_more_than_texts_is_refused() -> None:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = CLIPConfig(
        text_config={**sizes, "vocab_size": 300}, vision_config={**sizes, "image_size": 16, "patch_size": 8}
    )
    made = CLIPModel(config).eval()
    inputs = choose_inputs(made, SPECIMENS / "bert-a", GivenInputs())
    with pytest.raises(UnbuildableModelError, match="CLIPModel cannot be run on graded pairs") as caught:
        run(made, inputs)
    assert "takes texts, pictures or sounds alone" in caught.value.hint


def test_what_a_model_draws_as_it_runs_is_the_same_every_time() -> None:
    """A masked autoencoder sees a quarter of the patches, drawn anew by every call."""
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    made = ViTMAEModel(ViTMAEConfig(**sizes, image_size=16, patch_size=4)).eval()
    inputs = picture_inputs(digit_pictures()[:8], made.config, None, source="digits")
    state = torch.get_rng_state()
    found = compare(run(made, inputs), run(made, inputs))
    assert found["cosine"] == pytest.approx(1) and torch.equal(torch.get_rng_state(), state)


def test_a_decoder_without_a_head_reads_the_text_of_its_encoder(tmp_path: Path) -> None:
    made = T5Model(T5Config(vocab_size=300, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)).eval()
    found = run(made, choose_inputs(made, SPECIMENS / "bert-a", GivenInputs()))
    assert found.kind == "encoder" and found.vectors is not None and set(found.own) == {"spearman"}


def test_a_speech_model_without_a_head_starts_its_decoder() -> None:
    sizes = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = WhisperConfig(
        **sizes,
        **heads,
        vocab_size=40,
        num_mel_bins=8,
        max_source_positions=50,
        max_target_positions=16,
        pad_token_id=0,
    )
    config.decoder_start_token_id = 1
    for made, kind in ((WhisperModel(config), "encoder"), (WhisperForAudioClassification(config), "classifier")):
        found = run(made.eval(), sound_inputs(synthetic_sounds(2), made, None, source="sounds"))
        assert found.kind == kind and len(found.vectors if kind == "encoder" else found.logits) == 2


def test_a_model_with_places_for_any_number_of_tokens_reads_texts() -> None:
    made = XLNetLMHeadModel(XLNetConfig(vocab_size=300, d_model=8, n_layer=1, n_head=2, d_inner=8)).eval()
    inputs = choose_inputs(made, SPECIMENS / "bert-a", GivenInputs())
    assert min(len(batch.arguments["input_ids"][0]) for batch in inputs.batches) > 10


def test_every_code_has_at_most_the_bits_of_the_dna(found: Evaluation) -> None:
    measured = found.points[0].measured
    assert [each.code for each in measured] == list(CODES)
    assert all(0 < each.bits <= measured[0].bits for each in measured)
    assert all(set(each.figures) == {"agreement", "kl"} for each in measured)


def test_r2_of_the_codes_are_as_the_fit_report_has_them(model: MinedModel, found: Evaluation) -> None:
    by_code, reported = {each.code: each for each in found.points[0].measured}, model.pattern.fit
    assert reported is not None
    assert by_code["dna"].r2 == pytest.approx(reported.r2_8bit, abs=1e-6)
    assert by_code["svd"].r2 == pytest.approx(reported.svd_bits_r2, abs=0.03)
    assert by_code["means"].r2 == pytest.approx(reported.additive_r2, abs=0.01)
    assert abs(by_code["mean"].r2) < 0.01
    # The report's is about the mean that the copies have in signs of their own.
    assert by_code["shuffled"].r2 == pytest.approx(reported.null_r2_8bit, abs=1e-3)


def test_a_residual_of_many_bits_makes_the_original_again(model: MinedModel) -> None:
    found = evaluate([model], request=Request(bits=8, residual_bits=8), with_shuffled=False)
    best = {each.code: each for each in found.points[0].measured}["dna"]
    assert best.figures["agreement"] == 1 and best.figures["kl"] < 1e-3 and best.r2 > 0.999


def test_speech_is_compared_at_what_the_decoder_says(tmp_path: Path) -> None:
    path = make_tiny_checkpoint("whisper-tiny", tmp_path / "whisper-tiny", seed=0)
    original, other = build(path.parent), build(path.parent, 0.7)
    inputs = choose_inputs(original, path.parent, GivenInputs())
    first = run(original, inputs)
    assert first.kind == "seq2seq" and inputs.source == "synthetic sounds"
    assert compare(first, run(original, inputs)) == {"agreement": 1, "kl": 0}
    assert compare(first, run(other, inputs))["kl"] > 0


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model_type": "nosuch"}, "'nosuch' is not known to it"),
        ({}, "names no model type"),
        ({"model_type": "bert", "architectures": ["NoSuchModel"], "hidden_size": "wide"}, "cannot build"),
        ({"model_type": "t5", "feed_forward_proj": "no-such"}, "ValueError: `feed_forward_proj`"),
    ],
)
def test_a_model_that_transformers_cannot_build(config: dict[str, object], says: str) -> None:
    with pytest.raises(UnbuildableModelError, match=says) as raised:
        Builder.of("odd", config)
    assert raised.value.hint


def test_a_config_with_a_number_that_json_does_not_have_is_taken() -> None:
    """Mamba 2's steps have no upper limit, and so has its config.json."""
    written = json.loads(Mamba2Config(num_heads=4, head_dim=4, hidden_size=8).to_json_string())
    assert written["time_step_limit"][1] == {"__float__": "Infinity"}
    assert Builder.of("mamba", written).config.time_step_limit[1] == float("inf")


def test_a_config_is_taken_without_messages_of_transformers() -> None:
    """Its tokens at the ends are outside of its vocabulary, which transformers warns of."""
    logger, said = logging.getLogger("transformers"), logging.handlers.BufferingHandler(100)
    logger.addHandler(said)
    Builder.of("tiny", {"model_type": "gpt2", "vocab_size": 10, "architectures": ["GPT2LMHeadModel"]})
    logger.removeHandler(said)
    assert said.buffer == []


def test_weights_of_another_class_are_refused() -> None:
    config = json.loads((SPECIMENS / "bert-a" / "config.json").read_text())
    with pytest.raises(UnbuildableModelError, match="does not know the names"):
        Builder.of("odd", config).build({"some.weight": torch.zeros(2, 2)})


def test_inputs_of_another_kind_are_refused(tmp_path: Path, given_model: Callable[[str], torch.nn.Module]) -> None:
    with pytest.raises(SettingsError, match="the model takes images"):
        choose_inputs(given_model("vit-a"), SPECIMENS / "vit-a", GivenInputs(texts=tmp_path / "any"))
    with pytest.raises(SettingsError, match="no tokenizer"):
        choose_inputs(given_model("bert-a"), tmp_path, GivenInputs())
    with pytest.raises(SettingsError, match="no pictures"):
        choose_inputs(given_model("vit-a"), tmp_path, GivenInputs(images=tmp_path))


@pytest.fixture
def given_model() -> Callable[[str], torch.nn.Module]:
    return lambda name: build(SPECIMENS / name)
