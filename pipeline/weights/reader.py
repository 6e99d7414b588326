"""Read the tensors of a model when they are asked for, whatever files they are in.

R = rows, C = columns of a matrix view. Values come one tensor at a time; a model is never in memory as a whole. What
looks at each value once takes them in pieces: a table of tokens may be most of a model.
"""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from dna_zoo.errors import DamagedFileError, ExtractError
from pipeline.weights.files import WeightFiles
from pipeline.weights.safetensors_file import SafetensorsFile
from pipeline.weights.torch_file import TorchFile
from zoo.tensors import TensorHeader, TensorSpec

__all__ = ["WeightReader"]

PIECE = 1 << 18
"""Values of the rows that are read at a time."""


class _TensorFile(Protocol):
    headers: tuple[TensorHeader, ...]
    shared: dict[str, str]

    def read(self, header: TensorHeader) -> npt.NDArray[np.float32]: ...

    def chunks(self, header: TensorHeader, size: int = ...) -> Iterator[npt.NDArray[np.float32]]: ...

    def close(self) -> None: ...


def _open(path: Path) -> _TensorFile:
    try:
        return SafetensorsFile(path) if path.suffix == ".safetensors" else TorchFile(path)
    except OSError as error:
        raise ExtractError(
            f"{str(path)!r} cannot be read ({error.strerror or error}).", hint="Fetch the model again."
        ) from error


class WeightReader:
    """The tensors of a model, read when asked for: `with WeightReader(files) as reader`.

    Raises `DamagedFileError`, `UnsafeFileError` or `ExtractError` when entered, if a file cannot be read.
    """

    def __init__(self, files: WeightFiles) -> None:
        self._paths = files.paths
        self._open: list[_TensorFile] = []
        self._by_name: dict[str, tuple[_TensorFile, TensorHeader]] = {}

    def __enter__(self) -> Self:
        try:
            for path in self._paths:
                self._add(path)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _add(self, path: Path) -> None:
        file = _open(path)
        self._open.append(file)
        for header in file.headers:
            if header.name in self._by_name:
                raise DamagedFileError(
                    f"{header.name!r} is in two shards, {str(path)!r} and another.",
                    hint="Delete the shards and fetch the model again.",
                )
            self._by_name[header.name] = (file, header)

    def _close(self) -> None:
        for file in self._open:
            file.close()
        self._open.clear()
        self._by_name.clear()

    @property
    def headers(self) -> tuple[TensorHeader, ...]:
        """All tensors, shard after shard."""
        return tuple(header for _, header in self._by_name.values())

    @property
    def shared(self) -> dict[str, str]:
        """Name -> first name of the same storage, where the format has such a thing."""
        return {name: first for file in self._open for name, first in file.shared.items()}

    def tensor(self, name: str) -> npt.NDArray[np.float32]:
        """The values as float32 in the file's shape; float64 is rounded. Raises `ExtractError` for other dtypes."""
        file, header = self._by_name[name]
        return file.read(header)

    def chunks(self, name: str) -> Iterator[npt.NDArray[np.float32]]:
        """The values of `tensor`, flat and in order, a piece at a time; not to be written to."""
        file, header = self._by_name[name]
        return file.chunks(header)

    def are_equal(self, one: str, two: str) -> bool:
        """Whether two tensors have the same shape and values, NaN being equal to NaN."""
        if self._by_name[one][1].shape != self._by_name[two][1].shape:
            return False
        pairs = zip(self.chunks(one), self.chunks(two), strict=True)
        return all(np.array_equal(left, right, equal_nan=True) for left, right in pairs)

    def matrix(self, spec: TensorSpec) -> npt.NDArray[np.float32]:
        """The matrix view that `spec` describes: float32, shape `(spec.rows, spec.cols)`, C-contiguous, a copy."""
        values = self.tensor(spec.tensor)
        if spec.transposed or spec.row_slice:
            values = values if values.ndim == 2 else values.squeeze()
        if spec.transposed:
            values = values.T
        if spec.row_slice:
            values = values[slice(*spec.row_slice)]
        return np.ascontiguousarray(values).reshape(spec.rows, spec.cols)

    def pieces(self, spec: TensorSpec) -> Iterator[npt.NDArray[np.float32]]:
        """The rows of `matrix`, some at a time and in order; not to be written to.

        What lies in the file in another order comes in one piece.
        """
        if spec.transposed or spec.row_slice:
            yield self.matrix(spec)
            return
        file, header = self._by_name[spec.tensor]
        for values in file.chunks(header, max(PIECE // spec.cols, 1) * spec.cols):
            yield values.reshape(-1, spec.cols)
