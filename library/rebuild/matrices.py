"""The matrices that a DNA stands for, decoded when they are asked for and held against the original's."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import numpy.typing as npt

from dna_zoo.errors import SettingsError, did_you_mean
from library.codes.rounding import residual_bits, rounded_residual
from library.rebuild.rounded import dna_bits, rounded_dna
from library.rebuild.source import MinedModel
from pipeline.dna.dna import Dna
from pipeline.weights.reader import WeightReader
from zoo.tensors import TensorSpec

__all__ = ["RebuiltMatrices", "RebuiltTensor", "Request"]

Float32 = npt.NDArray[np.float32]
MOST_RESIDUAL_BITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be rebuilt, and how finely."""

    tensors: tuple[str, ...] = ()
    """Patterns of names, as a shell has them; all matrices of the DNA without any."""
    bits: int | None = None
    """Of a weight of the networks; None for float32."""
    residual_bits: int | None = None
    """Of a weight, for what the DNA leaves; None for nothing."""

    def __post_init__(self) -> None:
        if self.residual_bits is not None and not 1 <= self.residual_bits <= MOST_RESIDUAL_BITS:
            raise SettingsError(
                f"`--residual-bits` is {self.residual_bits}.", hint=f"Give a number from 1 to {MOST_RESIDUAL_BITS}."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuiltTensor:
    """A matrix beside the one that stands for it; sums of squares in original units."""

    name: str
    role: str
    rows: int
    cols: int
    dna_bits: float
    residual_bits: float
    energy: float
    """Of the original about the mean of its canonical form (free signs change the mean), as the fit report has it."""
    error: float
    reported_r2: float
    null_r2: float | None

    @property
    def num_weights(self) -> int:
        return self.rows * self.cols

    @property
    def bits(self) -> float:
        return self.dna_bits + self.residual_bits

    @property
    def r2(self) -> float:
        """1 where neither varies, as a fit report has it."""
        return 1 - self.error / max(self.energy, 1e-300)


class RebuiltMatrices(Mapping[str, Float32]):
    """Name of a matrix -> what stands for it, float32 (rows, cols) in the order of the file.

    Each is decoded whenever it is asked for, so that a model is never here twice; `measured` is of those that were.
    Raises `SettingsError` if no name of the DNA is asked for.
    """

    def __init__(self, model: MinedModel, reader: WeightReader, request: Request) -> None:
        self._reader, self._request = reader, request
        self._dna: Dna = model.dna if request.bits is None else rounded_dna(model.dna, request.bits)
        self._specs = {tensor.spec.name: tensor.spec for tensor in self._dna.tensors}
        self._names = _chosen(tuple(self._specs), request.tensors)
        self._bits, self._fits = dna_bits(model, request.bits), model.fits()
        self.measured: dict[str, RebuiltTensor] = {}

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """Of the matrices that are replaced."""
        return tuple(self._specs[name] for name in self._names)

    @property
    def dna_bits(self) -> float:
        """Of the DNA of these matrices, in all."""
        return math.fsum(self._bits[name] for name in self._names)

    @property
    def bits(self) -> float:
        """Of all that stands for these matrices."""
        width = self._request.residual_bits
        return self.dna_bits + (0 if width is None else sum(residual_bits(spec, width) for spec in self.specs))

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> Float32:
        if name not in self._names:
            raise KeyError(name)
        spec, width = self._specs[name], self._request.residual_bits
        original = self._reader.matrix(spec)
        found: Float32 = self._dna[name].in_file_order().numpy()
        if width is not None:
            found = found + rounded_residual(original - found, width)
        self.measured[name] = self._measure(spec, original, found)
        return found

    def _measure(self, spec: TensorSpec, original: Float32, found: Float32) -> RebuiltTensor:
        fit, width = self._fits[spec.name], self._request.residual_bits
        return RebuiltTensor(
            name=spec.name,
            role=spec.role.value,
            rows=spec.rows,
            cols=spec.cols,
            dna_bits=self._bits[spec.name],
            residual_bits=0.0 if width is None else float(residual_bits(spec, width)),
            energy=fit.mean_mse * spec.num_weights,
            error=float(np.square(original - found, dtype=np.float64).sum()),
            reported_r2=fit.r2,
            null_r2=fit.null_r2,
        )


def _chosen(names: tuple[str, ...], patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The names that one of the patterns is of."""
    for pattern in patterns:
        if not any(_is_like(name, pattern) for name in names):
            near = did_you_mean(pattern, names) or f"The first of its matrices is {names[0]!r}."
            raise SettingsError(f"`--tensors` is {pattern!r}, and no matrix of the DNA is called so.", hint=near)
    return tuple(name for name in names if not patterns or any(_is_like(name, each) for each in patterns))


def _is_like(name: str, pattern: str) -> bool:
    """Whether the pattern is the name, whose brackets mean themselves then (`weight[query]`), or is of it."""
    return name == pattern or fnmatchcase(name, pattern)
