"""A card of the zoo: one frozen record a model; the kinds of models that share facts, and tables of cards."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

__all__ = [
    "ModelCard",
    "PackagedWeights",
    "convolutional",
    "decoder",
    "speech",
    "text_encoder",
    "vision",
    "with_keys",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedWeights:
    """Weights that also come inside a Python package, where a hub cannot be reached."""

    distribution: str
    """Name to install."""
    module: str
    """Name to find with `importlib.util.find_spec` (never imported)."""
    directory: str
    """Folder inside the module that holds the file and `config.json`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """A model of the zoo, with what must be known before a byte of it is fetched."""

    # Identity.
    key: str = ""
    """What it is called; the table that it stands in says it."""
    repo: str
    tier: int = 5
    """1 to 4: the fifteen; 5: the wider zoo."""
    # Pinned source: None where no public pin is known; then resolved at the first download and stored.
    revision: str | None = None
    weight_file: str | None = None
    sha256: str | None = None
    licence: str | None
    """`none stated` where the repository states none; None where no public record was found."""
    # What it is.
    modality: str
    family: str
    architecture: str | None
    """encoder, decoder, encoder-decoder, cnn or hybrid; None for towers side by side."""
    specialty: str = "general"
    """general, multilingual, code, science, sentence-embedding, ..."""
    objective: str
    """Training objective: masked-lm, replaced-token-detection, causal-lm, classification, transcription, ..."""
    is_distilled: bool = False
    shares_layers: bool = False
    parents: tuple[str, ...] = ()
    """`base_model` or teacher repositories, where stated."""
    # Size, tied weights counted once.
    parameters: int
    """Of the base encoder/decoder class."""
    parameters_with_head: int | None = None
    """Of the class the checkpoint was saved from; None if that is the base class or the head is tied."""
    packaged: PackagedWeights | None = None


text_encoder = partial(ModelCard, modality="text", architecture="encoder", objective="masked-lm")
decoder = partial(ModelCard, modality="text", architecture="decoder", objective="causal-lm")
vision = partial(ModelCard, modality="vision", objective="classification")
convolutional = partial(vision, architecture="cnn")
speech = partial(ModelCard, modality="audio", specialty="speech")


def with_keys(cards: Mapping[str, ModelCard]) -> Mapping[str, ModelCard]:
    """A table of cards, each with the key that it stands under."""
    return {key: replace(card, key=key) for key, card in cards.items()}
