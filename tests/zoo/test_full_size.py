"""Every tensor of all fifteen models, from names and shapes as saved on disk at full size."""

import math
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.support.architectures import ARCHITECTURES
from tests.support.counts import ParameterCount, count_parameters
from tests.support.make_tensor_headers import make_fixture
from tests.support.tensor_headers import FOLDER, Fixture, load_fixture
from zoo.registry import CARDS, find_card
from zoo.roles import describe_tensors
from zoo.tensors import Role, TensorHeader, TensorKind, TensorSpec

ABSENT_POOLERS = {"codebert": 768 * 768 + 768, "deit-tiny": 192 * 192 + 192}
"""The base class has a pooler; the class that the file was saved from has none."""

every_key = pytest.mark.parametrize("key", CARDS)
with_and_without_config = pytest.mark.parametrize("use_config", [True, False], ids=["config", "names-alone"])


@cache
def describe(key: str, use_config: bool = True) -> tuple[TensorSpec, ...]:
    fixture = load_fixture(key)
    return describe_tensors(fixture.file, fixture.config if use_config else None)


def count(fixture: Fixture, headers: tuple[TensorHeader, ...]) -> ParameterCount:
    return count_parameters(describe_tensors(headers, fixture.config))


def test_there_is_a_fixture_for_every_card() -> None:
    assert {path.name.removesuffix(".json.gz") for path in FOLDER.glob("*.json.gz")} == set(CARDS) == set(ARCHITECTURES)


@pytest.mark.parametrize("key", ["deit-tiny", "tinybert", "whisper-tiny"])
def test_fixtures_are_what_transformers_builds(key: str) -> None:
    built = make_fixture(ARCHITECTURES[key])
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
    repos = {card.repo for card in CARDS.values()}
    checked = 0
    for repo, name, shape in published():
        if repo in repos:
            headers = load_fixture(find_card(repo).key).file
            assert any(re.sub(r"\.\d+\.", ".N.", h.name) == name and h.shape == shape for h in headers), name
            checked += 1
    assert checked > 150


@every_key
@with_and_without_config
def test_every_tensor_is_described_once_and_whole(key: str, use_config: bool) -> None:
    sizes: dict[str, int] = {}
    for spec in describe(key, use_config):
        sizes[spec.tensor] = sizes.get(spec.tensor, 0) + spec.num_weights
    assert sizes == {header.name: math.prod(header.shape) for header in load_fixture(key).file}


@every_key
@with_and_without_config
def test_other_is_at_most_a_hundredth_of_the_weights(key: str, use_config: bool) -> None:
    weights = [spec for spec in describe(key, use_config) if spec.kind is TensorKind.WEIGHT]
    other = sum(spec.num_weights for spec in weights if spec.role is Role.OTHER)
    assert other <= 0.01 * sum(spec.num_weights for spec in weights)


@every_key
def test_names_of_specs_are_unique(key: str) -> None:
    names = [spec.name for spec in describe(key)]
    assert len(set(names)) == len(names)


@every_key
def test_depth_grows_from_embeddings_to_heads(key: str) -> None:
    for spec in describe(key):
        if spec.block is None:
            assert spec.depth is not None and 0 <= spec.depth <= 1
        elif not CARDS[key].shares_layers:
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
        "deberta-v3-small": 6,
        "distilbert": 6,
        "distilgpt2": 6,
        "distilmbert": 6,
        "minilm-l6": 6,
        "mobilebert": 24,
        "mobilenet-v2": 16,
        "mobilevit-small": 19,
        "tinybert": 4,
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
        computed = re.search(r"running_|\.attn\.(?:masked_)?bias$|model\.encoder\.embed_positions", spec.tensor)
        assert (spec.kind is TensorKind.BUFFER) == bool(dtypes[spec.tensor] == "I64" or computed), spec.name


@every_key
def test_base_class_counts_as_on_the_card(key: str) -> None:
    fixture = load_fixture(key)
    counted = count(fixture, fixture.base)
    assert counted.base + counted.frozen == CARDS[key].parameters
    assert counted.head == counted.scaffolding == 0


@every_key
def test_class_with_head_counts_as_on_the_card(key: str) -> None:
    fixture = load_fixture(key)
    counted = count(fixture, fixture.head)
    expected = CARDS[key].parameters_with_head or CARDS[key].parameters
    assert counted.base + counted.head + counted.frozen == expected


@every_key
def test_the_file_holds_the_base_except_an_absent_pooler(key: str) -> None:
    fixture = load_fixture(key)
    counted = count(fixture, fixture.file)
    assert counted.base + counted.frozen == CARDS[key].parameters - ABSENT_POOLERS.get(key, 0)


@every_key
def test_the_file_holds_the_head_where_it_was_saved_with_one(key: str) -> None:
    fixture = load_fixture(key)
    counted = count(fixture, fixture.file)
    if ARCHITECTURES[key].saved == ARCHITECTURES[key].head:
        expected = CARDS[key].parameters_with_head or CARDS[key].parameters
        assert counted.base + counted.head + counted.frozen == expected
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

    packaged = CARDS["minilm-l6"].packaged
    assert packaged is not None
    module = find_spec(packaged.module)
    if module is None or not module.submodule_search_locations:
        pytest.skip("the demo extra is not installed")
    path = Path(module.submodule_search_locations[0]) / packaged.directory / "model.safetensors"
    with safe_open(path, framework="numpy") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}
        real = {(name, tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
    assert real == {(header.name, header.shape, header.dtype) for header in load_fixture("minilm-l6").file}
