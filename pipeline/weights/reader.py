"""Read the tensors of a model when they are asked for, whatever files they are in.

Values come one tensor at a time; a model is never in memory as a whole. What looks at each value once takes them in
pieces: a table of tokens may be most of a model.
"""

from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import numpy as np

from dna_zoo.errors import DamagedFileError, ExtractError
from dna_zoo.text import is_printable, printable
from pipeline.arrays import Array, Float32
from pipeline.weights.account import num_bytes
from pipeline.weights.adapters import apply_adapter
from pipeline.weights.assembly import DerivedTensor, StoredTensor, Tensor, Tensors
from pipeline.weights.experts import unstack
from pipeline.weights.files import WeightFiles
from pipeline.weights.gguf_file import GgufFile
from pipeline.weights.lora_files import loose_updates
from pipeline.weights.quantised import dequantise
from pipeline.weights.reparametrised import multiply_out
from pipeline.weights.safetensors_file import SafetensorsFile
from pipeline.weights.slices import is_sliced, join_slices, slice_key
from pipeline.weights.state_dict import StateDict, choose_set
from pipeline.weights.torch_file import TorchFile
from zoo.layout import Layout
from zoo.tensors import FLOATING, TensorHeader, TensorSpec

__all__ = ["WeightReader"]

PIECE = 1 << 18
"""Values that are read at a time, so that a tensor is never here in two precisions."""
LONGEST_NAME = 1_000
"""Characters of a tensor's name."""
MOST_AXES = 64
"""Axes of an array of numpy."""


_WeightFile = SafetensorsFile | TorchFile | GgufFile


def _open(path: Path, state_dict: str | None, *, is_part: bool) -> _WeightFile:
    try:
        if path.suffix == ".gguf":
            return GgufFile(path)
        if path.suffix == ".safetensors":
            return SafetensorsFile(path)
        return TorchFile(path, state_dict, is_part=is_part)
    except OSError as error:
        raise ExtractError(
            f"{str(path)!r} cannot be read ({error.strerror or error}).",
            hint="Check the file's permissions and the disk.",
        ) from error


def _measured(tensor: StoredTensor) -> tuple[int, int]:
    return prod(tensor.header.shape), num_bytes(tensor.header)


def _require_name(name: str, path: Path) -> None:
    """Raise `DamagedFileError` for what is no name: nobody's code looks for it, and it may be meant to hurt."""
    if not 0 < len(name) <= LONGEST_NAME or not is_printable(name):
        raise DamagedFileError(
            f"{str(path)!r} has a tensor whose name is empty, too long or no text: {printable(name, longest=60)!r}.",
            hint=f"Save the model with names of at most {LONGEST_NAME:,} characters, without control characters.",
        )


def _require_shape(header: TensorHeader, path: Path) -> None:
    """Raise `DamagedFileError` for more axes than numpy counts."""
    if len(header.shape) > MOST_AXES:
        raise DamagedFileError(
            f"{str(path)!r} has a tensor of {len(header.shape)} axes, {header.name!r}; {MOST_AXES} are the most.",
            hint="Save the model with axes of length 1 left out.",
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Renamed:
    """A file that knows a tensor under another name than the model does."""

    file: _WeightFile
    name: str

    def chunks(self, header: TensorHeader, size: int) -> Iterator[Float32]:
        return self.file.chunks(replace(header, name=self.name), size)

    def array(self, header: TensorHeader, *, exact: bool = False) -> Array:
        return self.file.array(replace(header, name=self.name), exact=exact)

    def entry(self, header: TensorHeader, index: int) -> Array:
        return self.file.entry(replace(header, name=self.name), index)


def _called(name: str, tensor: StoredTensor) -> StoredTensor:
    """The tensor under this name."""
    if name == tensor.header.name:
        return tensor
    file = _Renamed(file=cast(_WeightFile, tensor.file), name=tensor.header.name)
    return replace(tensor, header=replace(tensor.header, name=name), file=file, key=None)


class WeightReader:
    """The tensors of a model, read when asked for: `with WeightReader(files) as reader`.

    The files are opened, and their headers parsed, once, when something is first asked for: a reader handed through
    stages that are all done opens nothing. What asks first raises `DamagedFileError`, `UnsafeFileError` or
    `ExtractError` if a file cannot be read.
    """

    def __init__(self, files: WeightFiles) -> None:
        self.files = files
        self._base = WeightReader(files.base) if files.base else None
        self._opened: list[_WeightFile] = []
        self._chosen: StateDict | None = None
        self._stored: Tensors | None = None
        self._assembled: Tensors | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        for file in self._opened:
            file.close()
        self._opened.clear()
        if self._base:
            self._base._close()
        self._stored = self._assembled = self._chosen = None

    @property
    def stored(self) -> Mapping[str, Tensor]:
        """Every tensor of the files by name, as it is stored, shard after shard; those of an adapter's base first."""
        return {**(self._base.stored if self._base else {}), **self._own}

    @property
    def _own(self) -> Tensors:
        if self._stored is None:
            try:
                self._stored = self._open_all()
            except BaseException:
                self._close()
                raise
        return self._stored

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Every tensor of the model by name: quantised weights turned back, what is stored as a product multiplied."""
        if self._assembled is None:
            found = dict(self._own)
            if is_sliced(self.files.paths):
                found = join_slices(found, len(self.files.paths))
            found = unstack(multiply_out(dequantise(found, self.files.config)), self.files.config)
            if self.files.adapter:
                base = dict(self._base.tensors) if self._base else None
                self._assembled = apply_adapter(found, self.files.adapter, base)
            else:
                self._assembled = loose_updates(found, self.files.adapter_use)
        return self._assembled

    def _open_all(self) -> Tensors:
        entries: dict[str, StoredTensor] = {}
        sliced = is_sliced(self.files.paths)
        is_part = len(self.files.paths) > 1 and not sliced
        for number, path in enumerate(self.files.paths):
            self._opened.append(file := _open(path, self.files.state_dict, is_part=is_part))
            for header in file.headers:
                _require_name(header.name, path)
                _require_shape(header, path)
                key = slice_key(header.name, number) if sliced else header.name
                scheme = file.schemes.get(header.name)
                tensor = StoredTensor(header=header, file=file, scheme=scheme, key=key)
                first = entries.setdefault(key, tensor)
                if first is not tensor and not np.array_equal(first.array(), tensor.array()):
                    raise DamagedFileError(
                        f"{header.name!r} is in two shards with other values, in {str(path)!r} and before it.",
                        hint="Save the model anew, so that each tensor is in one shard.",
                    )
        if not is_part and self.files.paths[0].suffix != ".safetensors":
            return dict(entries)  # What is in one pickle was chosen there.
        name = self.files.paths[0].name if not is_part else self.files.key
        keys = {file.key for file in self._opened if isinstance(file, TorchFile)}
        wanted = None if self.files.state_dict in keys else self.files.state_dict
        self._chosen = choose_set(entries, name, wanted, _measured)
        return {name: _called(name, tensor) for name, tensor in self._chosen.tensors.items()}

    @property
    def notes(self) -> tuple[str, ...]:
        """What was chosen where the files left a choice."""
        chosen = self._chosen.notes if self._chosen else ()
        return (*self.files.notes, *(note for file in self._opened for note in file.notes), *chosen)

    @property
    def others(self) -> Mapping[str, int]:
        """Sets of weights in the same files that are not read -> their bytes."""
        known = [file.others for file in self._opened if isinstance(file, TorchFile)]
        return dict(ChainMap(*(dict(each) for each in (*known, self._chosen.others if self._chosen else {}))))

    @property
    def headers(self) -> tuple[TensorHeader, ...]:
        """All tensors of the model, shard after shard."""
        return tuple(tensor.header for tensor in self.tensors.values())

    @property
    def shared(self) -> dict[str, str]:
        """Name -> first name of the same storage, where the format has such a thing."""
        known = self.tensors  # Opens the files.
        found = {name: first for file in self._opened for name, first in file.shared.items()}
        return {name: first for name, first in found.items() if name in known and first in known}

    def tensor(self, name: str) -> Float32:
        """The values as float32 in the tensor's shape; float64 is rounded. Raises `ExtractError` for other formats."""
        shape = self.tensors[name].header.shape
        values, done = np.empty(prod(shape), dtype=np.float32), 0
        for chunk in self.chunks(name):
            values[done : done + chunk.size] = chunk
            done += chunk.size
        return values.reshape(shape)

    def chunks(self, name: str, size: int = PIECE) -> Iterator[Float32]:
        """The values of `tensor`, flat and in order, `size` at a time; not to be written to."""
        tensor = self.tensors[name]
        if tensor.header.dtype not in FLOATING:
            raise ExtractError(
                f"{name!r} of {self.files.key!r} is stored as {tensor.header.dtype}, which dna-zoo does not read.",
                hint="Save the model in float32, float16 or bfloat16.",
            )
        return tensor.chunks(size)

    def are_equal(self, one: str, two: str) -> bool:
        """Whether two tensors have the same shape and values, NaN being equal to NaN."""
        if self.tensors[one].header.shape != self.tensors[two].header.shape:
            return False
        pairs = zip(self.chunks(one), self.chunks(two), strict=True)
        return all(np.array_equal(left, right, equal_nan=True) for left, right in pairs)

    def matrix(self, spec: TensorSpec) -> Float32:
        """The matrix view that `spec` describes: float32, shape `(spec.rows, spec.cols)`, C-contiguous, a copy."""
        values = self.tensor(spec.tensor)
        if spec.transposed or spec.row_slice:
            values = values if values.ndim == 2 else values.squeeze()
        if spec.transposed:
            values = values.T
        if spec.row_slice:
            every = spec.row_period or len(values)
            values = values.reshape(-1, every, values.shape[-1])[:, slice(*spec.row_slice)]
        return np.ascontiguousarray(values).reshape(spec.rows, spec.cols)

    def layout(self, spec: TensorSpec) -> Layout:
        """Where the matrix of `spec` lies in the tensor that the files store.

        What is computed from other stored tensors has the name and the shape that it has in use.
        """
        tensor = self.tensors[spec.tensor]
        is_whole = not (spec.transposed or spec.row_slice)
        known = tensor.layout if isinstance(tensor, DerivedTensor) and is_whole else None
        return known or Layout.of(spec, tensor.header.shape)

    def pieces(self, spec: TensorSpec) -> Iterator[Float32]:
        """The rows of `matrix`, some at a time and in order; not to be written to.

        What lies in the file in another order comes in one piece.
        """
        if spec.transposed or spec.row_slice:
            yield self.matrix(spec)
            return
        for values in self.chunks(spec.tensor, max(PIECE // spec.cols, 1) * spec.cols):
            yield values.reshape(-1, spec.cols)
