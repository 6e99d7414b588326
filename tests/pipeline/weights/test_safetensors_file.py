"""The safetensors reader against the reference implementation, on sound files and on every kind of unsound one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import load, save

from dna_zoo.errors import DamagedFileError, ExtractError
from pipeline.weights.safetensors_file import SafetensorsFile

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


def read_all(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    file = SafetensorsFile(path)
    try:
        return {header.name: file.read(header) for header in file.headers}
    finally:
        file.close()


def test_reads_what_the_reference_reads(tmp_path: Path) -> None:
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
    "nothing": (b"", "should take"),
    "less than a length": (b"abc", "should take"),
    "header longer than the file": ((1 << 40).to_bytes(8, "little") + SOUND[8:], "should take 1,099,511,627,776"),
    "header past the end": (len(SOUND).to_bytes(8, "little") + SOUND[8:], "should take"),
    "bad JSON": (join(b'{"a": ', b""), "not valid JSON"),
    "not UTF-8": (join(b'{"\xff": 1}', b""), "not valid JSON"),
    "nested too deep": (join(b"[" * 100_000, b""), "not valid JSON"),
    "no object": (join([1], b""), "not a JSON object"),
    "name twice": (join(b'{"a": 1, "a": 2}', b""), "names a tensor twice"),
    "no fields": (join({"a": {}}, b""), "does not describe 'a'"),
    "offset no number": (changed("a", data_offsets=["0", 24]), "does not describe 'a'"),
    "offset true": (changed("a", data_offsets=[True, 24]), "does not describe 'a'"),
    "three offsets": (changed("a", data_offsets=[0, 8, 24]), "does not describe 'a'"),
    "negative offset": (changed("a", data_offsets=[-24, 0]), "does not describe 'a'"),
    "negative size": (changed("a", shape=[-2, -3]), "does not describe 'a'"),
    "size beyond memory": (changed("c", shape=[0, 1 << 70]), "does not describe 'c'"),
    "sizes beyond memory": (changed("c", shape=[1 << 40, 0, 1 << 40]), "does not describe 'c'"),
    "offsets reversed": (changed("a", data_offsets=[24, 0]), "bytes, which is no F32"),
    "shape of other size": (changed("a", shape=[2, 4]), "24 bytes, which is no F32 of shape [2, 4]"),
    "overlap": (changed("b", data_offsets=[16, 24]), "overlaps"),
    "gap": (changed("b", data_offsets=[32, 40]), "is not where"),
    "beyond the end": (SOUND[:-3], "its tensors take 32 bytes and the file holds 29"),
    "bytes left over": (SOUND + b"more", "the file holds 36"),
}


@pytest.mark.parametrize("case", UNSOUND)
def test_unsound_file_is_refused_with_its_reason(tmp_path: Path, case: str) -> None:
    content, reason = UNSOUND[case]
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DamagedFileError) as caught:
        read_all(tmp_path / "x")
    assert reason in caught.value.message and "fetch the model again" in caught.value.hint


@pytest.mark.parametrize("case", UNSOUND)
def test_reference_refuses_it_too(case: str) -> None:
    with pytest.raises((SafetensorError, UnicodeDecodeError, ValueError)):
        load(UNSOUND[case][0])


def test_file_cut_short_after_it_was_opened(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(SOUND)
    file = SafetensorsFile(path)
    path.write_bytes(SOUND[:-20])
    with pytest.raises(DamagedFileError, match="ends within"):
        for header in file.headers:
            file.read(header)
    file.close()


def flip(position: int, value: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:position] + bytes([content[position] ^ value]) + content[position + 1 :]


@settings(max_examples=300, deadline=None)
@given(position=st.integers(0, len(SOUND) - 40), value=st.integers(1, 255))
def test_no_flipped_header_byte_gets_another_error_out(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped"
    path.write_bytes(flip(position, value)(SOUND))
    try:
        read_all(path)
    except (DamagedFileError, ExtractError) as error:
        assert error.hint
