"""Turn files of weights into matrices: what each tensor is, whether it is sound, and its values when asked for.

P = rows, C = columns of a matrix view. Values come one tensor at a time; a model is never in memory as a whole. What
looks at each value once takes them in pieces: a table of tokens may be most of a model.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from dna_zoo.errors import DamagedFileError, ExtractError, NonFiniteWeightsError
from pipeline.events import Event, OnEvent, ignore
from pipeline.safetensors_file import SafetensorsFile
from pipeline.torch_file import TorchFile
from pipeline.weight_files import WeightFiles
from zoo.roles import describe_tensors
from zoo.tensors import TensorHeader, TensorKind, TensorSpec

__all__ = ["Inventory", "WeightReader", "extract"]

PIECE = 1 << 18
"""Values of the rows that are read at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What a model's files hold."""

    specs: tuple[TensorSpec, ...]
    """In the order of the files; tensors in `nonfinite` are left out."""
    num_weights: int
    """Trained weights, tied ones once, buffers not, non-finite tensors with the rest."""
    num_tensors: int
    """Tensors that hold them; a fused projection is one."""
    nonfinite: Mapping[str, int] = field(default_factory=dict)
    """Tensor -> how many of its values are NaN or infinite."""
    notes: tuple[str, ...] = ()
    """Sentences for the report."""


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


def extract(files: WeightFiles, *, allow_nonfinite: bool = False, on_event: OnEvent = ignore) -> Inventory:
    """Describe every tensor and look through every trained one for NaN and infinity.

    Raises `NonFiniteWeightsError` for those, unless `allow_nonfinite`: then their tensors are left out and listed.
    """
    with WeightReader(files) as reader:
        specs, notes = _describe(reader, files)
        trained = [spec for spec in specs if spec.kind is TensorKind.WEIGHT]
        num_weights = sum(spec.num_weights for spec in trained)
        if num_weights == 0:
            raise ExtractError(f"{files.key!r} holds no trained weights.", hint="Check that the file is the model's.")
        nonfinite = _count_nonfinite(reader, trained, files.key, num_weights, on_event)
        notes += _rounding_notes(trained)
    if nonfinite and not allow_nonfinite:
        raise _nonfinite_error(files.key, nonfinite)
    return Inventory(
        specs=tuple(spec for spec in specs if spec.tensor not in nonfinite),
        num_weights=num_weights,
        num_tensors=len({spec.tensor for spec in trained}),
        nonfinite=nonfinite,
        notes=(*notes, *(f"{name!r} is left out: {n:,} values are not finite." for name, n in nonfinite.items())),
    )


def _describe(reader: WeightReader, files: WeightFiles) -> tuple[tuple[TensorSpec, ...], tuple[str, ...]]:
    """The specs; what is a copy by name alone is held against its original, and counted apart if it differs."""
    shared = reader.shared
    specs = describe_tensors(reader.headers, files.config, shared=shared)
    by_storage = {*shared, *shared.values()}
    apart = {
        spec.tensor: spec.tied_to
        for spec in specs
        if spec.tied_to is not None and not {spec.tensor, spec.tied_to} <= by_storage
        if not reader.are_equal(spec.tensor, spec.tied_to)
    }
    if not apart:
        return specs, ()
    # A tensor that shares storage with itself alone is a copy of nothing.
    specs = describe_tensors(reader.headers, files.config, shared={**shared, **{name: name for name in apart}})
    return specs, tuple(
        f"{name!r} is named like a copy of {first!r} and differs from it: it counts apart."
        for name, first in apart.items()
    )


def _count_nonfinite(
    reader: WeightReader, trained: list[TensorSpec], key: str, total: int, on_event: OnEvent
) -> dict[str, int]:
    found = {}
    done = 0
    for name in dict.fromkeys(spec.tensor for spec in trained):
        num_nonfinite = 0
        for values in reader.chunks(name):
            num_nonfinite += values.size - int(np.count_nonzero(np.isfinite(values)))
            done += values.size
        if num_nonfinite:
            found[name] = num_nonfinite
        on_event(Event(kind="progress", model=key, stage="extract", done=done, total=total, unit="weights"))
    return found


def _nonfinite_error(key: str, nonfinite: Mapping[str, int]) -> NonFiniteWeightsError:
    name, count = next(iter(nonfinite.items()))
    others = f", and {len(nonfinite) - 1} more of its tensors hold such values" if len(nonfinite) > 1 else ""
    return NonFiniteWeightsError(
        f"{name!r} of {key!r} holds {count:,} values that are NaN or infinite{others}.",
        hint="Fetch the model again, or leave such tensors out with --allow-nonfinite.",
    )


def _rounding_notes(trained: list[TensorSpec]) -> tuple[str, ...]:
    num_wide = len({spec.tensor for spec in trained if spec.dtype == "F64"})
    return (f"{num_wide} tensors are stored as float64 and read as float32.",) if num_wide else ()
