"""Read tensors from a `.gguf` file, quantised or not, through the package of that name (the extra `quantised`)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dna_zoo.errors import DamagedFileError, ExtractError
from pipeline.arrays import Array, Float32
from zoo.tensors import TensorHeader

__all__ = ["GgufFile", "gguf_config"]

_PLAIN = {"F64", "F32", "F16", "BF16"}
_CONFIG = {
    "num_hidden_layers": "block_count",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
}
"""What `config.json` calls a number, and what the file does after the name of the architecture."""


class GgufFile:
    """An open file; values are turned back to float32 a tensor at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shared: dict[str, str] = {}
        """Empty: the format knows no shared storage."""
        self.notes: tuple[str, ...] = ()
        """Empty: there is nothing to choose."""
        self._tensors = {str(tensor.name): tensor for tensor in _open(path).tensors}
        self.headers = tuple(_header(name, tensor) for name, tensor in self._tensors.items())
        kinds = {name: tensor.tensor_type.name for name, tensor in self._tensors.items()}
        self.schemes = {name: f"gguf {kind.lower()}" for name, kind in kinds.items() if kind not in _PLAIN}
        """Of the tensors that are quantised."""

    def array(self, header: TensorHeader, *, exact: bool = False) -> Array:
        """All values in the header's shape, float32, also where `exact` ones are asked for: quantised values are no
        plain numbers, and no model is written of such a file."""
        return self._dequantised(header, self._tensors[header.name].data).reshape(header.shape)

    def entry(self, header: TensorHeader, index: int) -> Array:
        """One entry along the first axis of the header's shape, float32."""
        stored = self._tensors[header.name].data
        entries = stored.reshape(header.shape[0], -1, stored.shape[-1])
        return self._dequantised(header, entries[index]).reshape(header.shape[1:])

    def _dequantised(self, header: TensorHeader, stored: Any) -> Float32:
        from gguf.quants import dequantize

        kind = self._tensors[header.name].tensor_type
        try:
            return np.asarray(dequantize(stored, kind), dtype=np.float32)
        except NotImplementedError as error:
            raise ExtractError(
                f"{header.name!r} is quantised as {kind.name}, which cannot be turned back.",
                hint="Mine the model before it was quantised.",
            ) from error

    def chunks(self, header: TensorHeader, size: int) -> Iterator[Float32]:
        """The values as float32, flat and in order, `size` at a time."""
        flat = self.array(header).reshape(-1)
        for start in range(0, flat.size, size):
            yield flat[start : start + size]

    def close(self) -> None:
        self._tensors = {}


def gguf_config(path: Path) -> dict[str, Any]:
    """What the file says of the model, under the names of a `config.json`; empty for other formats."""
    if path.suffix != ".gguf":
        return {}
    opened = _open(path)
    try:
        fields = {name: field.contents() for name, field in opened.fields.items()}
    except Exception as error:  # Of a text that is none, or a number that is not where it should be.
        raise _damaged(path, error) from error
    kind = fields.get("general.architecture")
    known = {ours: fields.get(f"{kind}.{theirs}") for ours, theirs in _CONFIG.items()}
    return {"model_type": kind} | {name: value for name, value in known.items() if value is not None}


def _open(path: Path) -> Any:
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise ExtractError(
            f"{str(path)!r} is a GGUF file, and the package that reads it is not installed.",
            hint="Install it with `pip install 'dna-zoo[quantised]'`.",
        ) from error
    try:
        return GGUFReader(path)
    except Exception as error:  # Whatever a damaged header makes of it: ValueError, KeyError, IndexError and more.
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DamagedFileError:
    return DamagedFileError(
        f"{str(path)!r} ({path.stat().st_size:,} bytes) cannot be read as a GGUF file ({type(error).__name__}).",
        hint="Compare its size with the original's: it may have been cut short, or be of a newer format.",
    )


def _header(name: str, tensor: Any) -> TensorHeader:
    """The format counts axes from the last one; what is quantised counts as float32."""
    kind = tensor.tensor_type.name
    shape = tuple(int(length) for length in reversed(tensor.shape))
    num_bytes = int(tensor.n_bytes)
    return TensorHeader(name=name, shape=shape, dtype=kind if kind in _PLAIN else "F32", num_bytes=num_bytes)
