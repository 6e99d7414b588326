"""Other codes of the same matrices, to be given as many bits as a DNA: truncated SVD, plain rounding, and means.

Each measures every matrix once, and then says for any number of bits which matrices these bits buy: always the least
sum of squared errors over the model (`library.codes.allocation`), never more bits than given. All of them store the
mean of each matrix; none needs the order of rows and columns that a DNA pays for.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from library.codes.allocation import allocate
from pipeline.additive import additive_model
from pipeline.decomposition import singular_directions
from pipeline.fit.baselines import SVD_WIDTHS, price_of_rank, rounded, rounded_energies
from pipeline.fit.means import MeanSets, Units, paying, units_of
from pipeline.fit.report import STORED_BITS
from pipeline.fit.versions import moments_of
from zoo.tensors import TensorSpec

__all__ = ["Code", "Form", "Means", "Spent", "TruncatedSvd", "forms_of"]

FIRST_RANKS = 32
"""Of a matrix that are measured before it is known how many the bits of a model buy."""
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Loader = Callable[[TensorSpec], Float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a code made of the matrices of a model."""

    name: str
    bits: float
    """In all; at most what was given, unless the means alone are more."""
    matrices: Mapping[str, Float32]
    """By name, (rows, cols) in the order of the file."""
    detail: str = ""
    """What was chosen, in words."""


class Code(ABC):
    """A way of writing matrices down, measured on those of one model."""

    name: str

    @abstractmethod
    def spend(self, budget: float) -> Spent:
        """The matrices that `budget` bits in all buy."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Form:
    """A matrix less its mean, or less more means."""

    units: Units
    error: float
    """The sum of squares that is left."""

    @property
    def bits(self) -> int:
        return STORED_BITS + self.units.bits

    def plus(self, rest: Float32) -> Float32:
        """The matrix of which `rest` is left."""
        rows = 0 if self.units.rows is None else self.units.rows[:, None]
        cols = 0 if self.units.cols is None else self.units.cols
        return np.asarray(rest + (np.float32(self.units.mean) + rows + cols), dtype=np.float32)

    def rest(self, matrix: Float32) -> Float32:
        return matrix - self.plus(np.zeros((1, 1), dtype=np.float32))


Forms = Sequence[Sequence[Form]]
"""Of each matrix those that may be taken, the cheapest first."""


def forms_of(matrix: Float32) -> list[Form]:
    """The matrix less its mean, and less those sets of means that pay for themselves, alone and together."""
    moments = moments_of(matrix)
    pays = paying(additive_model(matrix), moments.std**2 * matrix.size)
    sets, found = [MeanSets(), MeanSets(rows=pays.rows), MeanSets(cols=pays.cols), pays], []
    for chosen in dict.fromkeys(sets):
        units = units_of(matrix, chosen, moments.mean, moments.std)
        rest = Form(units=units, error=0.0).rest(matrix)
        found.append(Form(units=units, error=float(np.square(rest, dtype=np.float64).sum())))
    return found


class Means(Code):
    """The mean of each matrix, and its row means and column means where these pay and can be had."""

    def __init__(
        self,
        specs: Sequence[TensorSpec],
        load: Loader,
        *,
        name: str = "means",
        only_mean: bool = False,
        forms: Forms | None = None,
    ) -> None:
        """- `forms`: as for `TruncatedSvd`."""
        known = [forms_of(load(spec)) for spec in specs] if forms is None else forms
        self.name, self._specs = name, specs
        self._forms = [each[:1] if only_mean else each for each in known]

    def spend(self, budget: float) -> Spent:
        bits = _padded([[form.bits for form in forms] for forms in self._forms])
        errors = _padded([[form.error for form in forms] for forms in self._forms])
        chosen = allocate(bits, errors, budget)
        picked = [forms[index] for forms, index in zip(self._forms, chosen, strict=True)]
        bought = sum(form.units.numbers > 0 for form in picked)
        return Spent(
            name=self.name,
            bits=float(sum(form.bits for form in picked)),
            matrices={
                spec.name: form.plus(np.zeros((spec.rows, spec.cols), dtype=np.float32))
                for spec, form in zip(self._specs, picked, strict=True)
            },
            detail=f"row or column means of {bought} of {len(picked)} matrices"
            if bought
            else "the mean of each matrix",
        )


class TruncatedSvd(Code):
    """Truncated SVD with rounded factors, at the one width that holds most; it may buy means first."""

    name = "svd"

    def __init__(
        self, specs: Sequence[TensorSpec], load: Loader, *, most_bits: float, forms: Forms | None = None
    ) -> None:
        """- `most_bits`: the largest budget that will be asked for;
        - `forms`: `forms_of` each matrix, where they are known already.

        A model's bits buy few ranks of each matrix. So few are measured, and more where the largest budget takes all.
        """
        self._specs, self._load = specs, load
        # Of the forms the two that matter: without means that pay, and with all of them.
        known = [forms_of(load(spec)) for spec in specs] if forms is None else forms
        ends = [each[:1] if len(each) == 1 else (each[0], each[-1]) for each in known]
        self._tables = [
            _svd_table(load(spec), each, most_bits, FIRST_RANKS) for spec, each in zip(specs, ends, strict=True)
        ]
        while exhausted := self._exhausted(most_bits):
            for index in exhausted:
                ranks = 2 * max(each.shape[1] for each in self._tables[index].vectors)
                self._tables[index] = _svd_table(load(specs[index]), ends[index], most_bits, ranks)

    def spend(self, budget: float) -> Spent:
        plans = {width: self._plan(width, budget) for width in SVD_WIDTHS}
        width = min(plans, key=lambda each: plans[each][1])
        chosen, _, bits = plans[width]
        matrices, ranks = {}, 0
        for spec, table, code in zip(self._specs, self._tables, chosen, strict=True):
            matrix = self._load(spec)
            form, vectors, rank = table.pick(int(code))
            ranks += rank
            matrices[spec.name] = form.plus(_truncated(form.rest(matrix), vectors[:, :rank], width))
        return Spent(
            name=self.name, bits=bits, matrices=matrices, detail=f"{width} bits a number, {ranks} ranks in all"
        )

    def _exhausted(self, budget: float) -> list[int]:
        """The matrices of which a plan takes all ranks that were measured, where there are more."""
        found = set()
        for width in SVD_WIDTHS:
            for index, code in enumerate(self._plan(width, budget)[0]):
                _, vectors, rank = self._tables[index].pick(int(code))
                if rank == vectors.shape[1] < self._tables[index].most_ranks:
                    found.add(index)
        return sorted(found)

    def _plan(self, width: int, budget: float) -> tuple[npt.NDArray[np.intp], float, float]:
        """The code of each matrix, the error and the bits of all."""
        bits = _padded([table.bits(spec, width) for spec, table in zip(self._specs, self._tables, strict=True)])
        errors = _padded([table.errors[width] for table in self._tables])
        chosen = allocate(bits, errors, budget)
        taken = np.arange(len(bits)), chosen
        return chosen, float(errors[taken].sum()), float(bits[taken].sum())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _SvdTable:
    """The codes of one matrix: of each form rank 0, 1, 2, ... one after the other."""

    forms: tuple[Form, ...]
    vectors: tuple[Float64, ...]
    """Of each form the leading singular vectors along the shorter axis."""
    errors: Mapping[int, Sequence[float]]
    """Width -> what is left, code by code."""
    most_ranks: int
    """That the largest budget could buy of this matrix alone."""

    def bits(self, spec: TensorSpec, width: int) -> list[float]:
        price = price_of_rank(spec.rows, spec.cols, width)
        return [
            form.bits + rank * price
            for form, vectors in zip(self.forms, self.vectors, strict=True)
            for rank in range(vectors.shape[1] + 1)
        ]

    def pick(self, code: int) -> tuple[Form, Float64, int]:
        """Form, its vectors and the rank of a code."""
        for form, vectors in zip(self.forms, self.vectors, strict=True):
            if code <= vectors.shape[1]:
                return form, vectors, code
            code -= vectors.shape[1] + 1
        raise IndexError(code)


def _svd_table(matrix: Float32, forms: Sequence[Form], most_bits: float, ranks: int) -> _SvdTable:
    num_rows, num_cols = matrix.shape
    affordable = int(most_bits // price_of_rank(num_rows, num_cols, min(SVD_WIDTHS)))
    most_ranks = min(affordable, num_rows, num_cols)
    vectors: list[Float64] = []
    errors: dict[int, list[float]] = {width: [] for width in SVD_WIDTHS}
    for form in forms:
        rest = form.rest(matrix)
        leading = singular_directions(rest)[1][:, : min(ranks, most_ranks)]
        vectors.append(leading)
        for width in SVD_WIDTHS:
            gained = np.cumsum(rounded_energies(rest, leading, width)) if leading.shape[1] else np.zeros(0)
            errors[width] += [form.error, *(form.error - gained).tolist()]
    return _SvdTable(forms=tuple(forms), vectors=tuple(vectors), errors=errors, most_ranks=most_ranks)


def _truncated(rest: Float32, vectors: Float64, width: int) -> Float32:
    """The product of the rounded factors of `rest`, one column of `vectors` a rank."""
    if not vectors.shape[1]:
        return np.zeros_like(rest)
    short, is_tall = vectors.astype(np.float32), rest.shape[0] >= rest.shape[1]
    long = (rest if is_tall else rest.T) @ short
    product = rounded(long, width) @ rounded(short, width).T
    return np.ascontiguousarray(product if is_tall else product.T)


def _padded(rows: Sequence[Sequence[float]]) -> Float64:
    """One row a part; what a part does not have is infinite."""
    found = np.full((len(rows), max(map(len, rows))), np.inf)
    for index, row in enumerate(rows):
        found[index, : len(row)] = row
    return found
