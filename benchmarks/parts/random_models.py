"""Models of random weights on disk: real names, shapes and number formats, at full size or at any other.

The headers of the zoo's fifteen are those that the tests hold against the published files. A file is written in pieces,
so that writing never takes more memory than what is measured on it.
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from zoo.tensors import TensorHeader

__all__ = ["RandomModel", "bert_model", "write_model", "zoo_model"]

HEADERS = Path(__file__).parents[2] / "tests" / "data" / "tensor_headers"
DTYPES = {"F32": "<f4", "F16": "<f2", "I64": "<i8"}
STD = 0.02
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomModel:
    """What a file of weights holds, but for the weights."""

    key: str
    config: Mapping[str, Any]
    headers: tuple[TensorHeader, ...]
    tied: Mapping[str, str] = field(default_factory=dict)
    """Name -> name of the tensor whose copy it is."""

    @property
    def num_values(self) -> int:
        """All values stored, copies and buffers with them."""
        return sum(int(prod(header.shape)) for header in self.headers)


def zoo_model(key: str) -> RandomModel:
    """A model of the zoo at full size."""
    data = json.loads(gzip.decompress((HEADERS / f"{key}.json.gz").read_bytes()))
    headers = tuple(TensorHeader(name=name, shape=tuple(shape), dtype=dtype) for name, shape, dtype in data["file"])
    return RandomModel(key=key, config=data["config"], headers=headers, tied=data["tied"])


def bert_model(key: str, *, width: int, layers: int, vocabulary: int, positions: int = 64) -> RandomModel:
    """A BERT of any size, its feed-forward layers four times as wide as its stream."""
    shapes = {
        "embeddings.word_embeddings.weight": (vocabulary, width),
        "embeddings.position_embeddings.weight": (positions, width),
        **_norm("embeddings.LayerNorm", width),
    }
    for layer in range(layers):
        block = f"encoder.layer.{layer}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes |= _linear(f"{block}.attention.{part}", width, width)
        shapes |= _norm(f"{block}.attention.output.LayerNorm", width)
        shapes |= _linear(f"{block}.intermediate.dense", 4 * width, width)
        shapes |= _linear(f"{block}.output.dense", width, 4 * width)
        shapes |= _norm(f"{block}.output.LayerNorm", width)
    config = {"model_type": "bert", "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": 4}
    headers = tuple(TensorHeader(name=name, shape=shape, dtype="F32") for name, shape in shapes.items())
    return RandomModel(
        key=key, config=config | {"vocab_size": vocabulary, "intermediate_size": 4 * width}, headers=headers
    )


def _linear(name: str, rows: int, cols: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (rows, cols), f"{name}.bias": (rows,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def write_model(model: RandomModel, folder: Path, seed: int) -> Path:
    """Write `config.json` and `model.safetensors` into `folder`; the path of the latter.

    Weights are normal with a standard deviation of 0.02, gains about 1; tied tensors are copies. The same model and
    seed give the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(dict(model.config)) + "\n")
    entries, end = {}, 0
    for header in model.headers:
        begin, end = end, end + prod(header.shape) * np.dtype(DTYPES[header.dtype]).itemsize
        entries[header.name] = {"dtype": header.dtype, "shape": header.shape, "data_offsets": (begin, end)}
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    path = folder / "model.safetensors"
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        _write_values(model, file, seed)
    return path


def _write_values(model: RandomModel, file: BinaryIO, seed: int) -> None:
    """All tensors, one after the other; a copy is drawn by the generator of its original."""
    number = {header.name: index for index, header in enumerate(model.headers)}
    for header in model.headers:
        original = model.tied.get(header.name, header.name)
        rng = np.random.default_rng([seed, number.get(original, number[header.name])])
        for values in _values(header, rng):
            file.write(values.astype(DTYPES[header.dtype]).tobytes())


def _values(header: TensorHeader, rng: np.random.Generator) -> Iterator[np.ndarray[Any, Any]]:
    """Flat, a piece at a time: numbers of positions, gains, or weights."""
    if header.dtype == "I64":
        yield np.arange(prod(header.shape)) % (header.shape[-1] if header.shape else 1)
        return
    centre = np.float32(1.0 if len(header.shape) == 1 and header.name.endswith("weight") else 0.0)
    total = prod(header.shape)
    for start in range(0, total, CHUNK):
        yield rng.standard_normal(min(CHUNK, total - start), dtype=np.float32) * np.float32(STD) + centre
