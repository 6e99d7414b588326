"""The safetensors reader against the library's, on sound files and on every kind of unsound one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from dna_zoo.errors import DamagedFileError, ExtractError
from pipeline.weights.reader import WeightReader
from pipeline.weights.safetensors_file import SafetensorsFile
from tests.support.weight_files import files_of
from zoo.tensors import TensorHeader

TENSORS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.arange(4, dtype=np.float16),
    "c": np.zeros((0, 3), np.float32),
}
SOUND = save(TENSORS, metadata={"format": "np"})


def parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join(header: object, values: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + values


def changed(name: str, **fields: Any) -> bytes:
    header, values = parts(SOUND)
    header[name] = {**header[name], **fields}
    return join(header, values)


def read(file: SafetensorsFile, header: TensorHeader) -> np.ndarray[Any, Any]:
    return np.concatenate([np.empty(0, np.float32), *file.chunks(header, 5)]).reshape(header.shape)


def read_all(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    file = SafetensorsFile(path)
    try:
        return {header.name: read(file, header) for header in file.headers}
    finally:
        file.close()


def test_reads_what_the_library_reads(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(SOUND)
    read = read_all(tmp_path / "x")
    assert read.keys() == TENSORS.keys()
    assert all(np.array_equal(read[name], values) for name, values in load(SOUND).items())


def test_values_need_not_be_aligned(tmp_path: Path) -> None:
    header, values = parts(SOUND)
    for spaces in range(4):
        (tmp_path / "x").write_bytes(join(json.dumps(header).encode() + b" " * spaces, values))
        assert np.array_equal(read_all(tmp_path / "x")["a"], TENSORS["a"])


UNSOUND: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "header too small"),
    "less than a length": (b"abc", "header too small"),
    "header longer than the file": ((1 << 40).to_bytes(8, "little") + SOUND[8:], "header too large"),
    "header past the end": (len(SOUND).to_bytes(8, "little") + SOUND[8:], "invalid header length"),
    "bad JSON": (join(b'{"a": ', b""), "invalid JSON"),
    "not UTF-8": (join(b'{"\xff": 1}', b""), "invalid UTF-8"),
    "nested too deep": (join(b"[" * 100_000, b""), "invalid JSON"),
    "no object": (join([1], b""), "invalid JSON"),
    "name twice": (join(b'{"a": 1, "a": 2}', b""), "invalid JSON"),
    "offset no number": (changed("a", data_offsets=["0", 24]), "invalid JSON"),
    "negative size": (changed("a", shape=[-2, -3]), "invalid JSON"),
    "size beyond memory": (changed("c", shape=[0, 1 << 70]), "invalid JSON"),
    "sizes beyond memory": (changed("c", shape=[1 << 40, 0, 1 << 40]), "'c' has the shape [1099511627776, 0, "),
    "offsets reversed": (changed("a", data_offsets=[24, 0]), "invalid offset"),
    "shape of other size": (changed("a", shape=[2, 4]), "invalid shape"),
    "overlap": (changed("b", data_offsets=[16, 24]), "invalid offset"),
    "gap": (changed("b", data_offsets=[32, 40]), "invalid offset"),
    "beyond the end": (SOUND[:-3], "not fully covered"),
    "bytes left over": (SOUND + b"more", "not fully covered"),
}


def test_a_name_given_twice_is_refused_or_means_one_tensor(tmp_path: Path) -> None:
    header, values = parts(SOUND)
    text = json.dumps(header)
    for fields, is_sound in ((json.dumps(header["a"]), True), (json.dumps(header["b"]), False)):
        (tmp_path / "x").write_bytes(join(f'{text[:-1]}, "a": {fields}}}'.encode(), values))
        if is_sound:
            assert np.array_equal(read_all(tmp_path / "x")["a"], TENSORS["a"])
        else:
            with pytest.raises(DamagedFileError):
                read_all(tmp_path / "x")


@pytest.mark.parametrize("case", UNSOUND)
def test_unsound_file_is_refused_with_its_reason(tmp_path: Path, case: str) -> None:
    content, reason = UNSOUND[case]
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DamagedFileError) as caught:
        read_all(tmp_path / "x")
    assert reason in caught.value.message and "have been cut short" in caught.value.hint


def test_file_cut_short_after_it_was_opened(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(SOUND)
    file = SafetensorsFile(path)
    path.write_bytes(SOUND[:-20])
    with pytest.raises(DamagedFileError, match="ends within"):
        for header in file.headers:
            read(file, header)
    file.close()


@settings(max_examples=300)
@given(position=st.integers(0, len(SOUND) - 40), value=st.integers(1, 255))
def test_no_flipped_header_byte_gets_another_error_out(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.safetensors"
    path.write_bytes(SOUND[:position] + bytes([SOUND[position] ^ value]) + SOUND[position + 1 :])
    try:
        with WeightReader(files_of(path)) as reader:
            for header in reader.headers:
                reader.tensor(header.name)
    except (DamagedFileError, ExtractError) as error:
        assert error.hint
