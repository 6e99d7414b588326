"""Every tensor of all models with a card, from names and shapes as saved on disk at full size."""

import math
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.support.architectures import ARCHITECTURES
from tests.support.counts import ParameterCount, count_parameters
from tests.support.make_tensor_headers import make_fixture
from tests.support.tensor_headers import FOLDER, Fixture, as_read, load_fixture
from tests.support.wider_architectures import WIDER_ARCHITECTURES
from zoo.registry import ALL_CARDS, find_card
from zoo.roles import describe_tensors
from zoo.tensors import Role, TensorHeader, TensorKind, TensorSpec

BUILT = {**ARCHITECTURES, **WIDER_ARCHITECTURES}
POOLER = 768 * 768 + 768
ABSENT = {
    "codebert": POOLER,
    "deit-tiny": 192 * 192 + 192,
    "roberta-base": POOLER,
    "vit-base": POOLER,
    "vit-small": 384 * 384 + 384,
    "vit-tiny": 192 * 192 + 192,
    "wav2vec2-base-960h": 768,
    "xlm-roberta-base": POOLER,
}
"""Values of the base class that the file lacks: a pooler, since the class that it was saved from has none; the mask
embedding of wav2vec 2."""
LENGTHS = {"hubert-base": 128, "wav2vec2-base": 128, "wav2vec2-base-960h": 128}
"""Lengths of weight norm, which are parameters of the class and are multiplied into the weight."""

every_key = pytest.mark.parametrize("key", ALL_CARDS)
with_and_without_config = pytest.mark.parametrize("use_config", [True, False], ids=["config", "names-alone"])


@cache
def describe(key: str, use_config: bool = True) -> tuple[TensorSpec, ...]:
    fixture = load_fixture(key)
    return describe_tensors(fixture.read, fixture.config if use_config else None)


def count(fixture: Fixture, headers: tuple[TensorHeader, ...]) -> ParameterCount:
    return count_parameters(describe_tensors(as_read(headers), fixture.config))


def test_there_is_a_fixture_for_every_card() -> None:
    assert {path.name.removesuffix(".json.gz") for path in FOLDER.glob("*.json.gz")} == set(ALL_CARDS) == set(BUILT)


@pytest.mark.parametrize("key", ["deit-tiny", "tinybert", "wav2vec2-base", "whisper-tiny"])
def test_fixtures_are_what_transformers_builds(key: str) -> None:
    built = make_fixture(BUILT[key])
    headers = [(header.name, list(header.shape), header.dtype) for header in load_fixture(key).file]
    assert [tuple(row) for row in built["file"]] == headers
    assert built["tied"] == load_fixture(key).tied


def published() -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """(repository, name with N for every number, shape of the first of that name)."""
    repo = ""
    for line in (FOLDER / "published_names.txt").read_text().splitlines():
        if line.startswith("# "):
            repo = line.split()[1]
        elif line.strip():
            name, shape = line.strip().split(" ", 1)
            yield repo, name, tuple(int(size) for size in re.findall(r"\d+", shape))


def test_fixtures_hold_every_name_of_the_published_files() -> None:
    repos = {card.repo for card in ALL_CARDS.values()}
    checked = 0
    for repo, name, shape in published():
        if repo in repos:
            headers = load_fixture(find_card(repo).key).file
            assert any(re.sub(r"\.\d+\.", ".N.", h.name) == name and h.shape == shape for h in headers), name
            checked += 1
    assert checked > 160


@every_key
@with_and_without_config
def test_every_tensor_is_described_once_and_whole(key: str, use_config: bool) -> None:
    sizes: dict[str, int] = {}
    for spec in describe(key, use_config):
        sizes[spec.tensor] = sizes.get(spec.tensor, 0) + spec.num_weights
    assert sizes == {header.name: math.prod(header.shape) for header in load_fixture(key).read}


@every_key
@with_and_without_config
def test_every_weight_has_a_role(key: str, use_config: bool) -> None:
    other = {s.tensor for s in describe(key, use_config) if s.kind is TensorKind.WEIGHT and s.role is Role.OTHER}
    # Query, key and value of GPT-NeoX go by head, and how many heads there are only the configuration says.
    is_whole = key == "pythia-160m" and not use_config
    assert {name for name in other if not (is_whole and "query_key_value" in name)} == set()


@every_key
def test_names_of_specs_are_unique(key: str) -> None:
    names = [spec.name for spec in describe(key)]
    assert len(set(names)) == len(names)


@every_key
def test_depth_grows_from_embeddings_to_heads(key: str) -> None:
    for spec in describe(key):
        if spec.block is None:
            assert spec.depth is not None and 0 <= spec.depth <= 1
        elif not ALL_CARDS[key].shares_layers:
            assert spec.depth is not None and 0 < spec.depth < 1
        if spec.role is Role.TOKEN_EMBEDDING:
            assert spec.depth == 0
        if spec.role is Role.HEAD:
            assert spec.depth == 1


@every_key
@with_and_without_config
def test_blocks_are_numbered_without_gaps(key: str, use_config: bool) -> None:
    blocks = {spec.block for spec in describe(key, use_config)} - {None}
    expected = {
        "albert-base": 1,
        "blip-captioning": 24,
        "clip-vit-b32": 24,
        "convnext-tiny": 21,  # 18, and 3 that lead from stage to stage.
        "deberta-v3-small": 6,
        "distilbert": 6,
        "distilgpt2": 6,
        "distilbert-sst2": 6,
        "distilmbert": 6,
        "distilroberta": 6,
        "efficientnet-b0": 16,
        "minilm-l6": 6,
        "minilm-l6-base": 6,
        "mobilebert": 24,
        "mobilenet-v2": 16,
        "mobilevit-small": 19,
        "resnet-18": 8,
        "resnet-50": 16,
        "t5-small": 12,
        "tinybert": 4,
        "wav2vec2-base": 19,
        "wav2vec2-base-960h": 19,
        "hubert-base": 19,
        "whisper-base": 12,
        "whisper-tiny": 8,
    }
    assert blocks == set(range(expected.get(key, 12)))


@every_key
@with_and_without_config
def test_tied_tensors_are_those_the_class_declares(key: str, use_config: bool) -> None:
    tied = {spec.name: spec.tied_to for spec in describe(key, use_config) if spec.kind is TensorKind.TIED}
    assert tied == load_fixture(key).tied


@every_key
def test_integers_are_buffers_and_so_are_masks_and_running_statistics(key: str) -> None:
    dtypes = {header.name: header.dtype for header in load_fixture(key).file}
    for spec in describe(key):
        computed = re.search(
            r"running_|\.attn\.(?:masked_)?bias$|attention\.masked_bias$|inv_freq$|model\.encoder\.embed_positions",
            spec.tensor,
        )
        is_integer = dtypes.get(spec.tensor) in ("I64", "U8", "BOOL")
        assert (spec.kind is TensorKind.BUFFER) == bool(is_integer or computed), spec.name


@every_key
def test_base_class_counts_as_on_the_card(key: str) -> None:
    fixture = load_fixture(key)
    counted = count(fixture, fixture.base)
    assert counted.base + counted.frozen == ALL_CARDS[key].parameters - LENGTHS.get(key, 0)
    assert counted.head == counted.scaffolding == 0


@every_key
def test_class_with_head_counts_as_on_the_card(key: str) -> None:
    fixture = load_fixture(key)
    counted = count(fixture, fixture.head)
    expected = ALL_CARDS[key].parameters_with_head or ALL_CARDS[key].parameters
    assert counted.base + counted.head + counted.frozen == expected - LENGTHS.get(key, 0)


@every_key
def test_the_file_holds_the_base_except_what_is_known_to_be_absent(key: str) -> None:
    fixture = load_fixture(key)
    counted = count(fixture, fixture.file)
    absent = ABSENT.get(key, 0) + LENGTHS.get(key, 0)
    assert counted.base + counted.frozen == ALL_CARDS[key].parameters - absent


@every_key
def test_the_file_holds_the_head_where_it_was_saved_with_one(key: str) -> None:
    fixture = load_fixture(key)
    counted = count(fixture, fixture.file)
    if BUILT[key].saved == BUILT[key].head:
        absent = LENGTHS.get(key, 0) + (ABSENT.get(key, 0) if BUILT[key].absent != "(?!)" else 0)
        expected = ALL_CARDS[key].parameters_with_head or ALL_CARDS[key].parameters
        # A pooler that the class lacks, and the file has, counts to the base.
        beside = POOLER if key == "distilroberta" else 0
        assert counted.base + counted.head + counted.frozen == expected - absent + beside
    else:
        assert counted.head == 0


@pytest.mark.parametrize(
    ("key", "values"), [("tinybert", 5 * (768 * 312 + 768)), ("deberta-v3-small", 1_313_125), ("distilbert", 0)]
)
def test_scaffolding_is_counted_apart(key: str, values: int) -> None:
    assert count_parameters(describe(key)).scaffolding == values


def test_a_naive_count_would_be_wrong() -> None:
    assert sum(math.prod(header.shape) for header in load_fixture("distilgpt2").file) > 120_500_000
    assert sum(math.prod(header.shape) for header in load_fixture("deberta-v3-small").file) > 240_000_000
    assert count_parameters(describe("distilgpt2")).trained == 81_912_576


@pytest.mark.minilm
def test_the_fixture_of_minilm_is_the_header_of_the_real_file() -> None:
    from importlib.util import find_spec
    from pathlib import Path

    from safetensors import safe_open

    packaged = ALL_CARDS["minilm-l6"].packaged
    assert packaged is not None
    module = find_spec(packaged.module)
    if module is None or not module.submodule_search_locations:
        pytest.skip("the demo extra is not installed")
    path = Path(module.submodule_search_locations[0]) / packaged.directory / "model.safetensors"
    with safe_open(path, framework="numpy") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}
        real = {(name, tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
    assert real == {(header.name, header.shape, header.dtype) for header in load_fixture("minilm-l6").file}
