"""Makers of hostile models: each writes one folder from a generator and says what must come of it.

A maker is a function of a folder and a generator. It returns the values that must be read, by tensor, where the file is
odd and right; None where either an answer or a refusal is right.
"""

import io
import json
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save

__all__ = ["CASES", "Expected", "Maker"]

Expected = Mapping[str, npt.NDArray[np.float32]] | None
Maker = Callable[[Path, np.random.Generator], Expected]
BASIC = {"model_type": "bert", "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 8}
ODD_TEXTS = (
    "\x1b[31mred", "\x1b]8;;http://x\x07link", "\x9b2J", "a\x00b", "\ud800", "two\nlines", "\r", "\u202eabc", "[/x]",
    "\\[/x]", "\\[link=http://x]y", "=1+1", "@sum", "+1", "-1", "\ttab", "<script>", "a\\|b", "x" * 100_000, "[query]",
    "../../up", "C:\\x", "\ufeffbom", "e\u0301", "\u2028", "", " ",
)  # fmt: skip
"""What a stranger may write where a name or a text belongs."""
ODD_VALUES: tuple[Any, ...] = (
    None, True, [], {}, [1, "a"], {"a": 1}, -1, 0, 0.5, 1e308, float("nan"), float("inf"), 10**30, "12", [None], [[[]]],
    *ODD_TEXTS,
)  # fmt: skip
NAMES = (
    "encoder.layer.0.attention.self.query.weight",
    "encoder.layer.0.attention.self.key.weight",
    "encoder.layer.0.output.dense.weight",
    "h.0.attn.c_attn.weight",
    "transformer.h.0.attn.c_attn.weight[query]",
    "conv1.weight",
    "lm_head.weight",
    "x",
)


def tensors(rng: np.random.Generator, count: int = 3) -> dict[str, npt.NDArray[np.float32]]:
    """Some matrices under usual names."""
    names = rng.choice(NAMES, size=count, replace=False)
    return {str(name): rng.normal(size=(8, 8)).astype(np.float32) for name in names}


def write(folder: Path, values: Mapping[str, Any], config: Any = BASIC) -> None:
    """A sound safetensors file, and a `config.json` of anything."""
    (folder / "model.safetensors").write_bytes(save(dict(values)))
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def write_header(folder: Path, header: bytes, body: bytes = b"") -> None:
    """A safetensors file with any bytes for a header."""
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + body)


def entry(shape: Any, size: int, dtype: Any = "F32", start: int = 0) -> dict[str, Any]:
    """An entry of a header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, start + size]}


def odd_names(folder: Path, rng: np.random.Generator) -> Expected:
    """Tensors with anything in their names."""
    values = list(tensors(rng).values())
    names = [
        str(rng.choice(NAMES)) + ODD_TEXTS[rng.integers(len(ODD_TEXTS))],
        "encoder.layer.0.output.dense.weight",
        "b",
    ]
    header, start = {}, 0
    for name, value in zip(names, values, strict=True):
        header[name] = entry([8, 8], 256, start=start)
        start += 256
        del value
    body = np.concatenate([value.ravel() for value in values]).tobytes()
    write_header(folder, json.dumps(header).encode(), body)
    (folder / "config.json").write_text(json.dumps(BASIC))
    return None


def names_like_parts(folder: Path, rng: np.random.Generator) -> Expected:
    """A fused projection beside tensors that are named like its parts."""
    part = rng.choice(["query", "key", "value"])
    fused = "h.0.attn.c_attn.weight"
    write(
        folder,
        {
            fused: rng.normal(size=(8, 24)).astype(np.float32),
            f"{fused}[{part}]": rng.normal(size=(8, 8)).astype(np.float32),
        },
        {"model_type": "gpt2", "n_head": 2, "n_layer": 1, "n_embd": 8},
    )
    return None


def odd_config(folder: Path, rng: np.random.Generator) -> Expected:
    """Settings of any kind in a config that is JSON."""
    found = tensors(rng)
    names = [
        *BASIC,
        "architectures",
        "quantization_config",
        "text_config",
        "n_head",
        "is_encoder_decoder",
        "torch_dtype",
    ]
    config: dict[str, Any] = dict(BASIC)
    for name in rng.choice(names, size=rng.integers(1, 4), replace=False):
        config[str(name)] = ODD_VALUES[rng.integers(len(ODD_VALUES))]
    write(folder, found, config)
    return found if "quantization_config" not in config else None


def damaged_config(folder: Path, rng: np.random.Generator) -> Expected:
    """A config that is no JSON, too deep, of another encoding, or very long."""
    write(folder, tensors(rng))
    text = [
        b"[" * 100_000,
        b'{"a":' * 50_000,
        json.dumps(BASIC).encode("utf-16"),
        b"\xff\xfe\xfd",
        b"{" + b'"a":1,' * 1000,
        b'{"model_type": "\\ud800"}',
        b'{"num_hidden_layers": ' + b"9" * 5000 + b"}",
        b'{"a": [' + b"[]," * 2_000_000 + b"1]}",
    ][rng.integers(8)]
    (folder / "config.json").write_bytes(text)
    return None


def special_file(folder: Path, rng: np.random.Generator) -> Expected:
    """A FIFO, a device, a folder or a loop of links where a file is expected."""
    write(folder, tensors(rng))
    name = str(rng.choice(["README.md", "config.json", "model.safetensors"]))
    (folder / name).unlink(missing_ok=True)
    kind = rng.integers(4)
    if kind == 0:
        os.mkfifo(folder / name)
    elif kind == 1:
        (folder / name).symlink_to("/dev/zero")
    elif kind == 2:
        (folder / name).mkdir()
    else:
        (folder / name).symlink_to(folder / name)
    return None


def front_matter(folder: Path, rng: np.random.Generator) -> Expected:
    """A model card whose head is long, odd, or costs time."""
    write(folder, tensors(rng))
    text = ODD_TEXTS[rng.integers(len(ODD_TEXTS))]
    head = [
        "---\n" + "\n" * 200_000,
        "---\n" + "- " * 5_000 + "\n---\n",
        "---\na: &a [1,1]\n" + "".join(f"b{i}: &b{i} [*a,*a]\n" for i in range(50)) + "---\n",
        f"---\nlicense: {json.dumps(text)}\nbase_model: {json.dumps([text])}\n---\n",
        "---\nlicense: !!python/object/apply:os.system ['touch escaped']\n---\n",
        "-" * 300_000,
    ][rng.integers(6)]
    (folder / "README.md").write_text(head, encoding="utf-8", errors="surrogatepass")
    return None


def damaged_header(folder: Path, rng: np.random.Generator) -> Expected:
    """A safetensors header with one thing wrong."""
    size = 256
    good = {"a": entry([8, 8], size), "b": entry([8, 8], size, start=size)}
    bad: list[Any] = [
        {"a": entry([8, 8], size, dtype=5), "b": good["b"]},
        {"a": entry([8, 8], size, dtype="F3"), "b": good["b"]},
        {"a": entry([8, 8], size, dtype="F4"), "b": good["b"]},
        {"a": entry([64, 8], size * 2, dtype="F8_E8M0")},
        {"a": entry([2**40, 2**40], size)},
        {"a": entry([8, 8], 2**62)},
        {"a": entry([-8, -8], size)},
        {"a": entry([8.0, 8], size)},
        {"a": entry("88", size)},
        {"a": entry([1] * 70 + [8, 8], size)},
        {"a": entry([0, 2**62], 0), "b": good["b"] | {"data_offsets": [0, size]}},
        {"a": entry([8, 0], 0), "b": good["b"] | {"data_offsets": [0, size]}},
        {"a": entry([], 4), "b": entry([8, 8], size, start=4)},
        {"a": good["a"], "b": good["a"]},
        {"a": good["b"], "b": good["a"]},
        [good],
        {"__metadata__": {"a": 1}, **good},
        {"__metadata__": "x", **good},
        {},
        {f"layers.{'9' * 4301}.weight": good["a"]},
    ]
    chosen = bad[rng.integers(len(bad))]
    text = json.dumps(chosen).encode(str(rng.choice(["utf-8", "utf-8", "utf-8", "utf-16"])))
    write_header(folder, text, rng.normal(size=128).astype(np.float32).tobytes())
    return None


def flipped_bytes(folder: Path, rng: np.random.Generator) -> Expected:
    """Some bytes of a sound file changed, or the file cut."""
    found = tensors(rng)
    write(folder, found)
    path = folder / "model.safetensors"
    if rng.integers(2):
        torch.save({name: torch.from_numpy(value) for name, value in found.items()}, folder / "pytorch_model.bin")
        path.unlink()
        path = folder / "pytorch_model.bin"
    data = bytearray(path.read_bytes())
    for place in rng.integers(len(data), size=rng.integers(1, 8)):
        data[place] = rng.integers(256)
    if rng.integers(4) == 0:
        del data[rng.integers(len(data)) :]
    path.write_bytes(data)
    return None


def many_tensors(folder: Path, rng: np.random.Generator) -> Expected:
    """A header of very many tensors, or of very long names."""
    kind = rng.integers(4)
    if kind == 0:
        names = [f"layers.{i}.w" for i in range(1_000)]
    elif kind == 1:
        names = ["a" * 600_000]
    elif kind == 2:
        names = ["." * 100_000 + "0.weight"]
    else:
        names = ["layers." + "0." * 490 + "weight", "a" * 1_000, "." * 999]
    header = {name: entry([4], 16, start=16 * i) for i, name in enumerate(names)}
    write_header(folder, json.dumps(header).encode(), rng.normal(size=4 * len(names)).astype(np.float32).tobytes())
    (folder / "config.json").write_text(json.dumps(BASIC))
    return None


def repacked_zip(folder: Path, rng: np.random.Generator) -> Expected:
    """A PyTorch file whose archive was packed again, with compression."""
    found = tensors(rng)
    buffer = io.BytesIO()
    torch.save({name: torch.from_numpy(value) for name, value in found.items()}, buffer)
    method = zipfile.ZIP_DEFLATED if rng.integers(3) else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(folder / "pytorch_model.bin", "w", method) as new:
        for item in old.namelist():
            new.writestr(item, old.read(item))
    return found


def zip_bomb(folder: Path, rng: np.random.Generator) -> Expected:
    """A small archive that unpacks to gigabytes."""
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("archive/data.pkl", b"\x80\x02}q\x00" + b"N0" * 10_000_000 + b".")
        new.writestr("archive/version", "3\n")
    return None


def odd_tensors(folder: Path, rng: np.random.Generator) -> Expected:
    """Tensors that are expanded, on no device, complex, sparse, conjugated, negated, quantised or nested."""
    warnings.simplefilter("ignore", UserWarning)  # Of torch, about kinds of tensors that it means to drop.
    dense = torch.from_numpy(rng.normal(size=(8, 8)).astype(np.float32))
    complex_ = torch.complex(dense, dense)
    kinds: list[Any] = [
        torch.zeros(1).expand(10**9),
        torch.zeros(1, 1).expand(10**9, 10**9),
        torch.zeros(1, 8).expand(10_000, 8),
        torch.empty(8, 8, device="meta"),
        complex_,
        complex_.conj(),
        complex_.conj().imag,
        dense.to_sparse(),
        torch.sparse_coo_tensor(torch.tensor([[0], [0]]), torch.ones(1), (10**6, 10**6)),
        torch.quantize_per_tensor(dense, 0.1, 0, torch.qint8),
        dense.to(torch.float8_e4m3fn),
        dense.T,
        dense[::2],
        torch.empty(0, 8),
        torch.empty(8, 0),
        torch.tensor(1.0),
        dense.reshape([1] * 60 + [8, 8]),
        torch.full((8, 8), 1e30),
        torch.full((8, 8), float("nan")),
        dense.to(torch.float64) * 1e300,
    ]
    torch.save({"a.weight": kinds[rng.integers(len(kinds))], "b.weight": dense}, folder / "pytorch_model.bin")
    return None


class _Call:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.parts = (function, arguments)

    def __reduce__(self) -> Any:
        return self.parts


def pickles(folder: Path, rng: np.random.Generator) -> Expected:
    """Pickles that call something, or hold anything but tensors."""
    values: list[Any] = [
        _Call(os.system, f"touch {folder}/escaped"),
        {"a": _Call(eval, "1")},
        _Call(open, f"{folder}/escaped", "w"),
        [1, 2, 3],
        {"a": 1},
        "text",
        {"state_dict": {"optimizer": {}}},
        {1: torch.ones(8, 8)},
        {"a": {"b": {"c": torch.ones(8, 8)}}},
        {"a" * 100_000: torch.ones(8, 8)},
        {"a\x00": torch.ones(8, 8), "\ud800": torch.ones(8, 8)},
    ]
    value = values[rng.integers(len(values))]
    path = folder / "pytorch_model.bin"
    if rng.integers(2):
        path.write_bytes(pickle.dumps(value, protocol=2))
    else:
        torch.save(value, path)
    return None


def odd_index(folder: Path, rng: np.random.Generator) -> Expected:
    """An index of shards that names what is outside, missing, or nothing sensible."""
    found = tensors(rng)
    (folder / "model-00001-of-00001.safetensors").write_bytes(save(found))
    maps: list[Any] = [
        {name: "../outside.safetensors" for name in found},
        {name: "/etc/passwd" for name in found},
        {name: "model-00002-of-00002.safetensors" for name in found},
        {name: ODD_VALUES[rng.integers(len(ODD_VALUES))] for name in found},
        ODD_VALUES[rng.integers(len(ODD_VALUES))],
        {},
        {**dict.fromkeys(found, "model-00001-of-00001.safetensors"), "not.there": "model-00001-of-00001.safetensors"},
    ]
    index = {"weight_map": maps[rng.integers(len(maps))]}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return None


def sparse_file(folder: Path, rng: np.random.Generator) -> Expected:
    """A file of terabytes that takes no space."""
    size = 10 * 2**40
    header = json.dumps({"a": entry([size // 4096, 1024], size)}).encode()
    write_header(folder, header)
    os.truncate(folder / "model.safetensors", 8 + len(header) + size)
    return None


def extreme_values(folder: Path, rng: np.random.Generator) -> Expected:
    """Values at the ends of what a number can be."""
    found = tensors(rng)
    for value in found.values():
        value.flat[rng.integers(value.size)] = rng.choice([1e30, 1e-45, -3e38, 0.0, float("inf"), float("nan")])
        if rng.integers(4) == 0:
            value[:] = rng.choice([0.0, 1.0, 1e-40, 3e38])
    write(folder, found)
    return None


CASES: Mapping[str, Maker] = {
    maker.__name__: maker
    for maker in (
        odd_names, names_like_parts, odd_config, damaged_config, special_file, front_matter, damaged_header,
        flipped_bytes, many_tensors, repacked_zip, zip_bomb, odd_tensors, pickles, odd_index, sparse_file,
        extreme_values,
    )
}  # fmt: skip
