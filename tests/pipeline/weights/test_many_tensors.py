"""Models of very many tensors: the work of reading one grows with their number and not with its square."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import save_file

from pipeline.weights.inventory import take_inventory
from pipeline.weights.quantised import dequantise
from pipeline.weights.reader import WeightReader
from tests.support.tensor_headers import FOLDER, load_fixture
from tests.support.weight_files import files_of
from zoo import blocks
from zoo.matching import rules_of, without_numbers
from zoo.roles import describe_tensors
from zoo.rules import BUFFER_RULES, FUSED_RULES, KERNEL_RULES, MATRIX_RULES
from zoo.tensors import TensorHeader

FEW, MANY = 200, 800
SQUARE = (MANY / FEW) ** 2
"""How much more work a square would be."""


def calls(work: Callable[[], object]) -> int:
    """How many functions are called, of Python and of C."""
    counted = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counted


def headers(count: int, *patterns: str, shape: tuple[int, ...] = (4, 4)) -> list[TensorHeader]:
    return [TensorHeader(name=each.format(n), shape=shape, dtype="F32") for each in patterns for n in range(count)]


@pytest.mark.parametrize(
    ("patterns", "shape"),
    [
        (("m.layers.{}.w", "m.a{}.b"), (4, 4)),
        (("a{}.lm_head.weight", "a{}.embed_tokens.weight"), (4, 4)),
        (("x{}.encoder.embed_positions.weight",), (4, 4)),
        (("x{}.attn.bias",), (1, 1, 4, 4)),
        (("s{}.layers.0.w", "s{}.norm.weight"), (4,)),
        (("layers.0.experts.{}.w1.weight", "layers.0.experts.{}.w3.weight"), (4, 4)),
    ],
)
def test_what_tensors_are_is_told_in_time_that_grows_with_their_number(
    patterns: tuple[str, ...], shape: tuple[int, ...]
) -> None:
    few, many = (calls(lambda n=n: describe_tensors(headers(n, *patterns, shape=shape), {})) for n in (FEW, MANY))
    assert many < few * SQUARE / 2


def test_second_copies_of_many_storages_are_found_in_time_that_grows_with_their_number() -> None:
    def work(count: int) -> None:
        shared = {f"b{n}": f"a{n}" for n in range(count)}
        specs = describe_tensors(headers(count, "a{}", "b{}"), {}, shared=shared)
        assert sum(spec.tied_to is not None for spec in specs) == count

    few, many = (calls(lambda n=n: work(n)) for n in (FEW, MANY))
    assert many < few * SQUARE / 2


def permuted(count: int) -> Iterator[npt.NDArray[np.float32]]:
    """Matrices that differ, though they have the same least, largest and summed values."""
    for n in range(count):
        yield np.random.default_rng(n).permutation(np.arange(36, dtype=np.float32)).reshape(6, 6)


def test_matrices_of_one_range_are_told_apart_in_time_that_grows_with_their_number(tmp_path: Path) -> None:
    def work(count: int) -> None:
        path = tmp_path / f"{count}.safetensors"
        save_file({f"a{n}": each for n, each in enumerate(permuted(count))}, path)
        with WeightReader(files_of(path)) as reader:
            assert len(take_inventory(reader).matrices) == count

    few, many = (calls(lambda n=n: work(n)) for n in (FEW, MANY))
    assert many < few * SQUARE / 2


def test_equal_matrices_are_second_copies_whatever_the_sign_of_their_zeros(tmp_path: Path) -> None:
    values = next(permuted(1))
    save_file(
        {"a": values, "b": np.where(values == 0, -values, values), "c": values.T.copy()}, tmp_path / "m.safetensors"
    )
    with WeightReader(files_of(tmp_path / "m.safetensors")) as reader:
        specs = {spec.name: spec.tied_to for spec in take_inventory(reader).specs}
    assert specs == {"a": None, "b": "a", "c": None}


def test_what_belongs_to_a_quantised_weight_is_found_without_going_through_all_names(tmp_path: Path) -> None:
    def work(count: int) -> None:
        stored = {}
        for n in range(count):
            stored |= {f"m{n}.weight": np.ones((4, 4), np.int8), f"m{n}.weight_scale": np.ones(4, np.float32)}
            stored |= {f"m{n}.input_scale": np.ones(1, np.float32)}
        path = tmp_path / f"{count}.safetensors"
        save_file(stored, path)
        with WeightReader(files_of(path)) as reader:
            tensors = dict(reader.stored)
            found = dequantise(tensors, {"quantization_config": {"quant_method": "compressed-tensors"}})
        assert set(found) == {f"m{n}.weight" for n in range(count)}
        assert found["m0.weight"].sources == ("m0.weight", "m0.weight_scale", "m0.input_scale")

    few, many = (calls(lambda n=n: work(n)) for n in (FEW, MANY))
    assert many < few * SQUARE / 2


KEYS = sorted(path.name.removesuffix(".json.gz") for path in FOLDER.glob("*.json.gz"))


@pytest.mark.parametrize("key", KEYS)
def test_numbers_that_count_as_one_meet_the_same_rules(key: str) -> None:
    tables = {"matrix": MATRIX_RULES, "kernel": KERNEL_RULES, "buffer": BUFFER_RULES, "fused": FUSED_RULES}
    stems = {header.name.removesuffix(".weight") for header in load_fixture(key).file}
    for stem in with_longer_numbers(stems):
        for name, rules in tables.items():
            assert getattr(rules_of(stem), name) is next((rule for rule in rules if rule.pattern.search(stem)), None)


@pytest.mark.parametrize("key", KEYS)
def test_numbers_that_count_as_one_lead_to_the_same_blocks(key: str) -> None:
    for name in with_longer_numbers({header.name for header in load_fixture(key).file}):
        found = blocks._block_rule(without_numbers(name))
        assert found is next((rule for rule in blocks._BLOCK_RULES if rule[0].search(name)), None)


def with_longer_numbers(names: set[str]) -> set[str]:
    """The same, and with another digit behind each digit: `w1` becomes `w17`, which no rule knows."""
    return names | {re.sub(r"(\d)", r"\g<1>7", name) for name in names}
