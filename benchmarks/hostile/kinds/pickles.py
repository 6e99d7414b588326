"""PyTorch files: pickles that call, that lie or are damaged, and archives whose entries do."""

import io
import os
import pickle
import pickletools
import struct
import subprocess
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.hostile.kinds.models import save_torch, tensors
from benchmarks.hostile.place import Place, Trial
from benchmarks.hostile.product import met
from benchmarks.hostile.strange import damaged, odd_text, odd_value, pick
from benchmarks.hostile.truth import in_archive

__all__ = ["archive_fields", "old_format", "pickle_calls", "pickle_opcodes", "repacked_archive", "zip_bomb"]

NAME = "pytorch_model.bin"


class _Call:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.parts = (function, arguments)

    def __reduce__(self) -> Any:
        return self.parts


def pickle_calls(place: Place, rng: np.random.Generator) -> Trial:
    """Pickles that call something, or hold anything but tensors."""
    warnings.simplefilter("ignore", UserWarning)
    escaped, tensor = str(place.root / "escaped"), torch.ones(8, 8)
    calls = (
        _Call(os.system, f"touch {escaped}"),
        _Call(eval, f"open({escaped!r}, 'w')"),
        _Call(exec, f"open({escaped!r}, 'w')"),
        _Call(open, escaped, "w"),
        _Call(subprocess.check_output, ["touch", escaped]),
        _Call(os.mkdir, escaped),
        _Call(getattr, torch.nn.Linear, "forward"),
        _Call(torch.hub.download_url_to_file, "http://127.0.0.1:9/x", escaped),
        _Call(Path, escaped),
        _Call(print, "x"),
    )
    call = pick(rng, calls)
    values: tuple[Any, ...] = (
        call,
        {"a": call},
        {"a.weight": tensor, "b": call},
        {"state_dict": {"a.weight": tensor}, "callback": call},
        {call: tensor} if isinstance(call, str) else [call],
        [1, 2, 3],
        {"a": 1},
        odd_text(rng),
        {"state_dict": {"optimizer": {}}},
        {1: tensor, None: tensor},
        {(1, 2): tensor, b"a": tensor},
        {"a": {"b": {"c": tensor}}},
        {"a": {"b": {"c": {"d": {"e": {"f": tensor}}}}}},
        {odd_text(rng): tensor, odd_text(rng): tensor},
        {"model": {odd_text(rng): tensor}, "ema": {odd_text(rng): tensor}},
        {"a": odd_value(rng), "b.weight": tensor},
        {"a.weight": tensor, "b.weight": np.ones((8, 8))},
        torch.nn.Linear(8, 8),
        tensor,
        None,
    )
    value, path = pick(rng, values), place.model / NAME
    if rng.integers(2):
        path.write_bytes(pickle.dumps(value, protocol=int(rng.integers(0, 6))))
    else:
        torch.save(value, path, _use_new_zipfile_serialization=bool(rng.integers(3)))
    return met(place)


def _rewritten(data: bytes, change: Callable[[str, bytes], bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """The archive with entries as `change` makes them of their names and bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return buffer.getvalue()


def pickle_opcodes(place: Place, rng: np.random.Generator) -> Trial:
    """A file of today with its pickle's instructions changed, doubled, cut or moved; its checksums are right."""

    def change(name: str, data: bytes) -> bytes:
        return _other_opcodes(data, rng) if name.endswith("data.pkl") else data

    path = place.model / NAME
    save_torch(path, tensors(rng))
    path.write_bytes(_rewritten(path.read_bytes(), change))
    return met(place, lambda: in_archive(path))


def _other_opcodes(data: bytes, rng: np.random.Generator) -> bytes:
    places = [place for _, _, place in pickletools.genops(data) if place is not None]
    ends = [*places[1:], len(data)]
    parts = [data[first:last] for first, last in zip(places, ends, strict=True)]
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(parts)))
        way = rng.integers(6)
        if way == 0:
            parts[place] = b""
        elif way == 1:
            parts[place] *= 2
        elif way == 2:
            parts[place] = damaged(parts[place], rng)
        elif way == 3:
            other = int(rng.integers(len(parts)))
            parts[place], parts[other] = parts[other], parts[place]
        elif way == 4:
            parts[place] = bytes([ord(pick(rng, pickletools.opcodes).code)]) + parts[place][1:]
        else:
            parts[place] = _number(rng) + parts[place]
    return b"".join(parts)


def _number(rng: np.random.Generator) -> bytes:
    """An instruction that pushes a number, a text or a mark."""
    return bytes(
        pick(
            rng,
            (
                b"K\x00",
                b"M\xff\xff",
                b"J\xff\xff\xff\x7f",
                b"\x8a\x09" + b"\xff" * 8 + b"\x7f",
                b"(",
                b"N",
                b"\x88",
                b"]",
                b"}",
                b")",
                b"X\x01\x00\x00\x00a",
                b"0",
                b"2",
                b"R",
                b"Q",
                b"b",
            ),
        )
    )


def archive_fields(place: Place, rng: np.random.Generator) -> Trial:
    """A file of today with a number in the directory of its archive changed: sizes, offsets, flags, names, counts."""
    path = place.model / NAME
    save_torch(path, tensors(rng))
    data = bytearray(path.read_bytes())
    entries, end = _places(data, b"PK\x01\x02"), data.rfind(b"PK\x05\x06")
    for _ in range(rng.integers(1, 3)):
        kind = rng.integers(4)
        if kind == 0:
            start, size = end + int(pick(rng, (4, 6, 8, 10, 20))), 2
        elif kind == 1:
            start, size = end + int(pick(rng, (12, 16))), 4
        elif kind == 2:
            start, size = int(pick(rng, entries)) + int(pick(rng, (6, 8, 10, 28, 30, 32, 34, 36))), 2
        else:
            start, size = int(pick(rng, entries)) + int(pick(rng, (16, 20, 24, 38, 42))), 4
        old = int.from_bytes(data[start : start + size], "little")
        new = pick(rng, (0, 1, old + 1, old - 1, old * 2, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 8, 9, 12, 64))
        data[start : start + size] = struct.pack("<H" if size == 2 else "<I", new % 2 ** (8 * size))
    path.write_bytes(data)
    return met(place, lambda: in_archive(path))


def _places(data: bytes | bytearray, mark: bytes) -> list[int]:
    found, place = [], data.find(mark)
    while place >= 0:
        found.append(place)
        place = data.find(mark, place + 1)
    return found


def repacked_archive(place: Place, rng: np.random.Generator) -> Trial:
    """An archive that was packed again: compressed, with entries doubled, renamed, missing, nested or out of place."""
    path, found = place.model / NAME, tensors(rng)
    save_torch(path, found)
    methods = (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    buffer, odd = io.BytesIO(), odd_text(rng).encode("utf-8", "replace").decode() or "x"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(buffer, "w") as new:
        names, method = old.namelist(), pick(rng, methods)
        warnings.simplefilter("ignore", UserWarning)  # Of doubled names.
        for name in names if rng.integers(4) else reversed(names):
            if rng.integers(12) == 0:
                continue
            data = old.read(name)
            new.writestr(name, data, method if rng.integers(2) else zipfile.ZIP_STORED)
            if rng.integers(12) == 0:
                new.writestr(pick(rng, (name, odd[:200], f"../{name}", "/x", name.upper())), damaged(data, rng))
        if rng.integers(8) == 0:
            new.writestr("archive/constants.pkl", b"\x80\x02N.")
    path.write_bytes(pick(rng, (b"", b"", b"x" * 100)) + buffer.getvalue())
    return met(place, lambda: in_archive(path))


def zip_bomb(place: Place, rng: np.random.Generator) -> Trial:
    """A small archive that unpacks to gigabytes, or whose pickle fills the memory."""
    count = 10 ** int(rng.integers(4, 8))
    inside = pick(
        rng, (b"N0" * count, b"N" * count, b"]" * count, b"(" * count, b"}q\x00h\x00" * count, b"\x00" * count)
    )
    method = zipfile.ZIP_DEFLATED if rng.integers(4) else zipfile.ZIP_STORED
    with zipfile.ZipFile(place.model / NAME, "w", method) as new:
        new.writestr("archive/data.pkl", b"\x80\x02" + (inside if method else inside[:1_000_000]) + b".")
        new.writestr("archive/version", "3\n")
    return met(place)


def old_format(place: Place, rng: np.random.Generator) -> Trial:
    """A file of the format before archives, whole or with bytes changed."""
    found = {name: torch.from_numpy(each) for name, each in tensors(rng).items()}
    path = place.model / NAME
    torch.save(found, path, _use_new_zipfile_serialization=False)
    if rng.integers(8):
        data = path.read_bytes()
        path.write_bytes(damaged(data, rng, stop=int(pick(rng, (40, 200, len(data))))))
        return met(place)
    return met(place, {name: each.numpy() for name, each in found.items()})
