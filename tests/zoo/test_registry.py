import re

import pytest

from dna_zoo.errors import SettingsError, UnknownModelError
from zoo.cards import ModelCard
from zoo.registry import ALL_CARDS, CARDS, find_card, select_cards

ARCHITECTURES = {"encoder", "decoder", "encoder-decoder", "cnn", "hybrid"}
MODALITIES = {"text", "vision", "audio", "code", "multimodal"}
every_card = pytest.mark.parametrize("card", ALL_CARDS.values(), ids=ALL_CARDS.keys())


def test_there_are_fifteen_cards_sorted_by_key() -> None:
    assert len(CARDS) == 15
    assert list(CARDS) == sorted(CARDS)
    assert list(ALL_CARDS) == sorted(ALL_CARDS) and len(ALL_CARDS) == 15 + len(select_cards(tier=5))


def test_keys_and_repositories_are_unique() -> None:
    assert all(key == card.key for key, card in ALL_CARDS.items())
    assert len({card.repo for card in ALL_CARDS.values()}) == len(ALL_CARDS)


def test_tiers_hold_five_three_five_and_two_models() -> None:
    assert [len(select_cards(tier=tier)) for tier in (1, 2, 3, 4)] == [5, 3, 5, 2]


def test_base_parameters_add_up_to_the_known_total() -> None:
    assert sum(card.parameters for card in CARDS.values()) == 796_173_512


@every_card
def test_revision_is_a_full_commit_or_unknown(card: ModelCard) -> None:
    assert card.revision is None or re.fullmatch(r"[0-9a-f]{40}", card.revision)
    assert card.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", card.sha256)


@every_card
def test_a_checksum_comes_with_a_pinned_file(card: ModelCard) -> None:
    assert card.sha256 is None or (card.revision and card.weight_file)
    assert card.weight_file in (None, "model.safetensors", "pytorch_model.bin")


@every_card
def test_facts_are_set_and_from_the_closed_sets(card: ModelCard) -> None:
    assert card.licence != "" and card.family and card.specialty and card.objective
    assert card.architecture in ARCHITECTURES or card.modality == "multimodal"
    assert card.modality in MODALITIES
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", card.repo)


@every_card
def test_a_head_adds_parameters(card: ModelCard) -> None:
    assert card.parameters_with_head is None or card.parameters_with_head > card.parameters


@every_card
def test_parents_are_repositories_and_not_the_model_itself(card: ModelCard) -> None:
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+", parent) for parent in card.parents)
    assert card.repo not in card.parents


def test_only_albert_shares_its_layers() -> None:
    assert [key for key, card in ALL_CARDS.items() if card.shares_layers] == ["albert-base"]


def test_declared_descent_is_a_forest_of_some_depth() -> None:
    """The edges that taxonomy and lineage are held against: none in a circle."""
    by_repo = {card.repo: card for card in ALL_CARDS.values()}

    def ancestors(card: ModelCard) -> list[str]:
        known = [by_repo[parent] for parent in card.parents if parent in by_repo]
        return [key for parent in known for key in (parent.key, *ancestors(parent))]

    lines = {card.key: found for card in ALL_CARDS.values() if (found := ancestors(card))}
    assert lines == {
        "codebert": ["roberta-base"],
        "distilbert": ["bert-base"],
        "distilbert-sst2": ["distilbert", "bert-base"],
        "distilgpt2": ["gpt2"],
        "distilmbert": ["bert-base-multilingual"],
        "distilroberta": ["roberta-base"],
        "finbert": ["bert-base"],
        "minilm-l12-sentence": ["minilm-l12"],
        "minilm-l6": ["minilm-l6-base", "minilm-l12"],
        "minilm-l6-base": ["minilm-l12"],
        "tinybert": ["bert-base"],
        "wav2vec2-base-960h": ["wav2vec2-base"],
    }


@every_card
def test_a_card_is_found_by_key_and_by_repository(card: ModelCard) -> None:
    assert find_card(card.key) is card
    assert find_card(card.repo) is card


def test_an_unknown_name_lists_near_misses() -> None:
    with pytest.raises(UnknownModelError, match=r"^Unknown model 'bert-bas'\. Did you mean 'bert-base'") as caught:
        find_card("bert-bas")
    assert "dna-zoo zoo" in caught.value.hint


def test_a_repository_without_its_owner_is_a_near_miss() -> None:
    with pytest.raises(UnknownModelError, match=r"Did you mean 'sentence-transformers/all-MiniLM-L6-v2'"):
        find_card("all-minilm-l6-v2")


def test_a_name_like_no_other_gets_no_suggestion() -> None:
    with pytest.raises(UnknownModelError, match=r"^Unknown model 'zzzz'\.$"):
        find_card("zzzz")


def test_conditions_are_combined() -> None:
    assert [card.key for card in select_cards(tier=3, family="bert")] == ["distilmbert"]
    assert [card.key for card in select_cards(tier=5, modality="multimodal")] == ["blip-captioning", "clip-vit-b32"]
    assert select_cards(tier=1, modality="vision") == ()
    assert len(select_cards()) == len(ALL_CARDS)


@pytest.mark.parametrize(
    ("condition", "listed"),
    [({"tier": 9}, "1, 2, 3, 4, 5"), ({"family": "bret"}, "bert"), ({"modality": "smell"}, "vision")],
)
def test_a_value_that_no_card_has_is_refused_with_the_known_ones(condition: dict[str, object], listed: str) -> None:
    with pytest.raises(SettingsError, match=r"^No card of the zoo has ") as caught:
        select_cards(**condition)  # type: ignore[arg-type]
    assert listed in caught.value.hint
