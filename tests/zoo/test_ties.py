import pytest

from zoo.tensors import TensorHeader
from zoo.ties import find_ties


def table(name: str, rows: int = 16) -> TensorHeader:
    return TensorHeader(name=name, shape=(rows, 4), dtype="F32")


GPT2 = [table("transformer.wte.weight"), table("lm_head.weight")]


def test_a_head_of_the_embeddings_shape_is_its_copy() -> None:
    assert find_ties(GPT2, {}, {}) == {"lm_head.weight": "transformer.wte.weight"}


def test_a_head_of_another_shape_is_its_own() -> None:
    assert find_ties([GPT2[0], table("lm_head.weight", 17)], {}, {}) == {}


@pytest.mark.parametrize("config", [{"tie_word_embeddings": False}, {"model_type": "llama"}])
def test_the_configuration_unties(config: dict[str, object]) -> None:
    assert find_ties(GPT2, config, {}) == {}


def test_the_configuration_ties_what_is_untied_by_default() -> None:
    assert find_ties(GPT2, {"model_type": "llama", "tie_word_embeddings": True}, {}) != {}


@pytest.mark.parametrize(
    "shared",
    [{"lm_head.weight": "transformer.wte.weight"}, {"transformer.wte.weight": "lm_head.weight"}],
    ids=["embedding-first", "head-first"],
)
def test_shared_storage_decides_and_the_embedding_is_the_original(shared: dict[str, str]) -> None:
    expected = {"lm_head.weight": "transformer.wte.weight"}
    assert find_ties(GPT2, {"tie_word_embeddings": False}, shared) == expected


def test_a_tensor_known_to_have_its_own_storage_is_no_copy() -> None:
    assert find_ties(GPT2, {}, {"lm_head.weight": "lm_head.weight"}) == {}


def test_shared_storage_ties_tensors_of_any_name() -> None:
    assert find_ties([table("a"), table("b"), table("c")], {}, {"c": "a"}) == {"c": "a"}


def test_storage_shared_by_another_shape_is_no_copy() -> None:
    assert find_ties([table("a"), table("b", 8)], {}, {"b": "a"}) == {}


def test_both_stacks_of_t5_repeat_the_shared_table() -> None:
    names = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "shared.weight", "lm_head.weight"]
    ties = find_ties([table(name) for name in names], {}, {})
    assert ties == {name: "shared.weight" for name in names if name != "shared.weight"}


@pytest.mark.parametrize("head", ["cls.predictions", "predictions", "lm_head"])
def test_the_bias_inside_a_decoder_is_a_copy(head: str) -> None:
    biases = [TensorHeader(name=f"{head}.{name}", shape=(16,), dtype="F32") for name in ("bias", "decoder.bias")]
    assert find_ties(biases, {}, {}) == {f"{head}.decoder.bias": f"{head}.bias"}
