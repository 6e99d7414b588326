"""The inputs that a model is run on, by what it takes: what a person gives, or what comes with dna-zoo."""

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

from dna_zoo.errors import SettingsError
from library.evaluate.inputs import Inputs, graded_pairs, read_texts, shipped_texts, text_inputs
from library.evaluate.pictures import digit_pictures, picture_inputs, read_pictures
from library.evaluate.sounds import read_sounds, sound_inputs, synthetic_sounds
from library.models import Kind, kind_of

__all__ = ["GivenInputs", "choose_inputs", "load_tokenizer"]

MODALITIES: Mapping[str, str] = {
    "input_ids": "texts",
    "pixel_values": "images",
    "input_values": "audio",
    "input_features": "audio",
}
"""The first argument of a model -> what it takes, as the option is called."""
TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "spiece.model", "tokenizer.model")
POSITIONS = ("max_position_embeddings", "n_positions", "max_target_positions")


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenInputs:
    """What a person gave; None for what comes with dna-zoo."""

    texts: Path | None = None
    images: Path | None = None
    audio: Path | None = None


def choose_inputs(model: Any, folder: Path, given: GivenInputs) -> Inputs:
    """The inputs for a model whose tokenizer or processor is in `folder`.

    Raises `SettingsError` for a model that takes something else, has no tokenizer, or was given inputs of another kind.
    """
    taken = MODALITIES.get(model.main_input_name)
    if taken is None:
        raise SettingsError(
            f"The model takes `{model.main_input_name}`, which dna-zoo has no inputs for.",
            hint="Only models of text, pictures and sound are evaluated.",
        )
    for name in ("texts", "images", "audio"):
        if getattr(given, name) is not None and name != taken:
            raise SettingsError(
                f"`--{name}` is given, and the model takes {taken}.", hint=f"Give `--{taken}` or nothing."
            )
    if taken == "texts":
        return _texts(model, folder, given.texts)
    if taken == "images":
        pictures = digit_pictures() if given.images is None else read_pictures(given.images)
        source = "scikit-learn's handwritten digits" if given.images is None else str(given.images)
        return picture_inputs(pictures, model.config, _processor(folder, "AutoImageProcessor"), source=source)
    sounds = synthetic_sounds() if given.audio is None else read_sounds(given.audio)
    source = "synthetic sounds" if given.audio is None else str(given.audio)
    return sound_inputs(sounds, model, _processor(folder, "AutoFeatureExtractor"), source=source)


def _texts(model: Any, folder: Path, path: Path | None) -> Inputs:
    kind: Kind = kind_of(model)
    tokenizer = load_tokenizer(folder)
    grades = None
    if path is not None:
        texts, source = read_texts(path), str(path)
    elif kind == "encoder":
        (texts, grades), source = graded_pairs(), "graded pairs of sentences"
    else:
        texts, source = shipped_texts(), "texts that come with dna-zoo"
    return text_inputs(
        kind,
        texts,
        tokenizer,
        longest=_longest(model.config, tokenizer),
        source=source,
        grades=grades,
        has_decoder=kind in ("encoder", "seq2seq") and "decoder_input_ids" in signature(model.forward).parameters,
    )


def _longest(config: Any, tokenizer: Any) -> int:
    """Tokens that the model has places for. XLNet, which takes any number, says that it has -1."""
    known = [getattr(config, name, None) for name in POSITIONS]
    places = min((each for each in known if isinstance(each, int) and each > 0), default=512)
    return max(min(places, int(tokenizer.model_max_length)) - 2, 1)  # RoBERTa counts positions from two on.


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in the folder. Raises `SettingsError` if there is none that can be loaded."""
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise SettingsError(
            f"{str(folder)!r} holds no tokenizer, so no text can be given to the model.",
            hint="Put the tokenizer's files beside the weights, such as tokenizer.json and tokenizer_config.json.",
        )
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise SettingsError(
            f"The tokenizer in {str(folder)!r} cannot be loaded ({type(error).__name__}).",
            hint="Check its files, and the packages that it needs.",
        ) from error


def _processor(folder: Path, name: str) -> Any | None:
    """The image processor or feature extractor of the folder; None where it has none."""
    if not any((folder / each).is_file() for each in ("preprocessor_config.json", "processor_config.json")):
        return None
    import transformers

    try:
        return getattr(transformers, name).from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise SettingsError(
            f"The processor in {str(folder)!r} cannot be loaded ({type(error).__name__}).",
            hint="Check preprocessor_config.json, and the packages that it needs.",
        ) from error
