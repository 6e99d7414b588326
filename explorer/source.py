"""Where pictures take their numbers: the database, the artifacts in the home folder, and the weights where they are."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dna_zoo.errors import UnknownTensorError, did_you_mean
from patterndb.records import PatternRecord, TensorRecord
from patterndb.store import PatternDatabase
from pipeline.dna.dna import Dna, DnaTensor
from pipeline.dna.mined import mined_dna
from pipeline.lineage.mined import find_weights
from pipeline.nulls import NULLS, NullKind, Place, null_rng, ordinals_of
from pipeline.order import CanonicalOrder, canonicalise, seriate_tensor
from pipeline.weights.reader import WeightReader
from zoo.tensors import Role, TensorSpec

__all__ = ["MinedMatrices", "MinedMatrix", "Source"]

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """A database of mined models and the home folder of their files. Only read."""

    database: PatternDatabase
    home: Path

    def pattern(self, model: str, *, run: str | None = None) -> PatternRecord:
        """What was found in the model, tensors included. Raises `NotMinedError`, naming near misses."""
        return self.database.load_pattern(model, run=run)

    def dna(self, model: str) -> Dna:
        """Raises `NotMinedError`, and `DnaFileError` where nothing was fitted or the file is gone."""
        return mined_dna(self.database.load_pattern(model, with_tensors=False), self.database, self.home)

    @contextmanager
    def matrices(self, model: str) -> Iterator["MinedMatrices"]:
        """The model's matrices with their weights, open for the block.

        Raises `NotMinedError`, `DnaFileError`, `FetchError` where the weights are not on this machine any more, and
        `WeightsChangedError` where the files are not those that were mined.
        """
        pattern = self.pattern(model)
        dna = mined_dna(pattern, self.database, self.home)
        summary = next(each for each in self.database.patterns() if each.pattern_key == pattern.pattern_key)
        with WeightReader(find_weights(summary, self.database, home=self.home)) as reader:
            yield MinedMatrices(pattern=pattern, dna=dna, reader=reader)


@dataclass(frozen=True, kw_only=True, eq=False)
class MinedMatrices:
    """All matrices of one model that have a DNA: names -> `MinedMatrix`, in the order of the model's files."""

    pattern: PatternRecord
    dna: Dna
    reader: WeightReader

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.dna)

    @cached_property
    def records(self) -> Mapping[str, TensorRecord]:
        """What was found in each tensor, also those that are no matrices."""
        return {tensor.name: tensor for tensor in self.pattern.tensors}

    def __getitem__(self, name: str) -> "MinedMatrix":
        """Raises `UnknownTensorError`, naming near misses."""
        if name not in self.names:
            near = did_you_mean(name, self.names)
            key = self.pattern.model.key
            raise UnknownTensorError(
                f"{key!r} has no matrix {name!r} with a DNA.", hint=near or f"`list(dna_zoo.open()[{key!r}].dna())`."
            )
        return MinedMatrix(
            dna=self.dna[name],
            record=self.records[name],
            reader=self.reader,
            ordinal=self._ordinals[name],
            seed=int(self.pattern.settings["seed"]),
        )

    def __iter__(self) -> Iterator["MinedMatrix"]:
        return (self[name] for name in self.names)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def _ordinals(self) -> Mapping[str, int]:
        return ordinals_of([tensor.spec for tensor in self.dna.tensors])


@dataclass(frozen=True, kw_only=True, eq=False)
class MinedMatrix:
    """One matrix (R rows, C columns): as the file has it, in canonical order, as its DNA says it, and its nulls."""

    dna: DnaTensor
    record: TensorRecord
    reader: WeightReader
    ordinal: int
    """Rank of its name among the matrices of its role, block and shape."""
    seed: int

    @property
    def name(self) -> str:
        return self.dna.name

    @property
    def spec(self) -> TensorSpec:
        return self.dna.spec

    @property
    def order(self) -> CanonicalOrder:
        """The order of the DNA."""
        return self.dna.order

    @cached_property
    def in_file_order(self) -> Float32:
        """The weights (R, C), order and signs of the file."""
        return self.reader.matrix(self.spec)

    @cached_property
    def canonical(self) -> Float32:
        """The weights (R, C) in the order and signs of the DNA."""
        return canonicalise(self.in_file_order, self.order)

    @cached_property
    def rebuilt(self) -> Float32:
        """What the DNA says (R, C), in its own order, means included."""
        return self.dna.canonical().numpy()

    def null(self, draw: int, kind: NullKind = "shuffle") -> Float32:
        """A null (R, C), ordered as the matrix was: the draw of that number which the analysis made."""
        spec, role = self.spec, list(Role).index(self.spec.role)
        place = Place(role=role, block=spec.block, ordinal=self.ordinal, shape=(spec.rows, spec.cols))
        drawn = NULLS[kind](self.canonical, null_rng(kind, draw, seed=self.seed, **place))
        return canonicalise(drawn, seriate_tensor(drawn, spec))
