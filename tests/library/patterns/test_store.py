"""A pattern comes back from its file as it was, and a damaged file is told from a whole one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from dna_zoo.errors import DamagedFileError, LibraryError, SettingsError
from library.patterns.build import combine
from library.patterns.records import Key, SharedPattern
from library.patterns.store import Library, read_pattern, write_pattern
from tests.support.sharing import bert, build, pattern_of

QUERY = Key("attention_query", "scale")
OUTPUT = Key("ffn_out", "scale")


def assert_same(one: SharedPattern, two: SharedPattern) -> None:
    assert list(one.parts) == list(two.parts)
    for key, part in one.parts.items():
        assert np.array_equal(part.values, two.parts[key].values)
        assert (part.lineages, part.evidence) == (two.parts[key].lineages, two.parts[key].evidence)
    assert replace(one, parts={}).__repr__() == replace(two, parts={}).__repr__()


def test_a_built_pattern_survives_its_file(tmp_path: Path) -> None:
    pattern = build([bert(seed, width=16, depth=1) for seed in range(3)], num_draws=3)
    write_pattern(pattern, tmp_path / "some.safetensors")
    assert_same(read_pattern(tmp_path / "some.safetensors"), pattern)


def test_the_same_pattern_has_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_pattern(build([bert(seed, width=16, depth=1) for seed in range(3)], num_draws=3), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("place", [-3, -40, 5, 200])
def test_a_damaged_file_is_refused(tmp_path: Path, place: int) -> None:
    path = tmp_path / "some.safetensors"
    write_pattern(pattern_of({QUERY: [1.0]}), path)
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match="not a whole shared pattern"):
        read_pattern(path)


def test_another_file_and_half_a_file_are_refused(tmp_path: Path) -> None:
    save_file({"a": np.zeros(3, dtype=np.float32)}, tmp_path / "other.safetensors")
    write_pattern(pattern_of({QUERY: [1.0]}), tmp_path / "half.safetensors")
    (tmp_path / "half.safetensors").write_bytes((tmp_path / "half.safetensors").read_bytes()[:100])
    for name in ("other", "half"):
        with pytest.raises(DamagedFileError):
            read_pattern(tmp_path / f"{name}.safetensors")


def test_the_library_replaces_nothing_unasked_and_names_near_misses(tmp_path: Path) -> None:
    shelf = Library(tmp_path)
    shelf.save(pattern_of({QUERY: [1.0]}, name="encoder"), replace=False)
    with pytest.raises(LibraryError, match="already"):
        shelf.save(pattern_of({QUERY: [2.0]}, name="encoder"), replace=False)
    shelf.save(pattern_of({QUERY: [2.0]}, name="encoder"), replace=True)
    assert shelf.load("encoder").parts[QUERY].at(0.5) == pytest.approx([2.0])
    with pytest.raises(LibraryError) as caught:
        shelf.load("encodr")
    assert caught.value.hint == "Did you mean 'encoder'?"
    with pytest.raises(SettingsError, match="cannot be the name"):
        shelf.path("../encoder")
    assert shelf.names == ("encoder",)


def test_a_combination_is_the_weighted_mean_of_what_holds() -> None:
    one = pattern_of({QUERY: [1.0], OUTPUT: [4.0]}, name="one", explained=0.5)
    two, idle = pattern_of({QUERY: [3.0]}, name="two"), pattern_of({QUERY: [100.0]}, name="idle", explained=-1.0)
    found = combine("both", [one, two, idle], [3, 1, 1])
    assert found.parts[QUERY].at(0.2) == pytest.approx([1.5])
    assert found.parts[OUTPUT].at(0.2) == pytest.approx([4.0])
    assert found.parts[QUERY].evidence is None and "not measured" in found.verdict
    assert found.combined == pytest.approx({"one": 0.6, "two": 0.2, "idle": 0.2})


@pytest.mark.parametrize("weights", [[1.0], [-1.0, 2.0], [0.0, 0.0]])
def test_weights_that_are_none_are_refused(weights: list[float]) -> None:
    with pytest.raises(SettingsError, match="cannot be combined"):
        combine("both", [pattern_of({QUERY: [1.0]}), pattern_of({QUERY: [1.0]})], weights)
