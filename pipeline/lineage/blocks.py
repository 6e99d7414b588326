"""Which block of one model is which block of another: by depth, or by a quantity that no order of units changes.

For a block with a feed-forward pair that is the Gram matrix `W^T W` of the weights that its inner units read with,
along the residual stream; for other blocks the singular values of their matrices.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.lineage.alignment import (
    FILE_ORDER_Z,
    Alignment,
    assign,
    balanced,
    centred,
    file_order_z,
    relations_z,
    unit_rows,
)
from pipeline.lineage.pairing import Group, Link, Pair, pair_specs, residual_group, residual_link
from pipeline.lineage.records import Matrix, ModelWeights
from zoo.tensors import Role, TensorSpec

__all__ = ["Block", "BlockMatcher", "BlockPairs", "agreement_of", "spectral_agreement"]

NUM_QUANTILES = 32
"""Singular values are compared at so many quantiles, so that matrices of any size can be."""
MAX_BLOCKS = 4
"""Blocks that an alignment of a residual stream is judged on, in models of one depth."""
MAX_READERS = 512
"""Inner units of each block on which file order is tested."""
_NEVER = -1e3
Names = Mapping[str, TensorSpec]
Alignments = Mapping[Link, Alignment]


@dataclass(frozen=True)
class Block:
    """A block of a model; its Gram matrix and its spectra are computed once."""

    names: Names
    """Name inside the block -> spec."""
    model: ModelWeights

    @property
    def reader(self) -> TensorSpec | None:
        """The first matrix that inner units of a feed-forward pair read with."""
        return next((spec for spec in self.names.values() if spec.role is Role.FFN_IN and spec.is_matrix), None)

    @cached_property
    def gram(self) -> tuple[Group, Matrix] | None:
        """The residual stream of a block with a feed-forward pair, and its reading weights' Gram matrix, `(U, U)`."""
        group = residual_group(self.reader, axis="col") if self.reader is not None else None
        if self.reader is None or group is None:
            return None
        read = unit_rows(centred(self.model.load(self.reader)))
        return group, read.T @ read

    @cached_property
    def spectra(self) -> Mapping[str, Matrix]:
        """Name of a matrix in the model -> `NUM_QUANTILES` of its singular values."""
        return {s.name: _spectrum(self.model.load(s)) for s in self.names.values() if s.is_matrix}


BlockPairs = list[tuple[Block, Block]]


@dataclass(frozen=True, slots=True)
class BlockMatcher:
    """The blocks of two models in the order of execution."""

    a: Sequence[Block]
    b: Sequence[Block]

    def in_sequence(self) -> BlockPairs | None:
        """Block i is block i, of models of one depth; None for others."""
        return list(zip(self.a, self.b, strict=True)) if len(self.a) == len(self.b) else None

    def is_in_file_order(self, link: Link) -> bool:
        """Whether the blocks show that the units of a residual stream are in file order."""
        return self._reading_z(link) >= FILE_ORDER_Z or self._relations_z(link) >= FILE_ORDER_Z

    def _reading_z(self, link: Link) -> float:
        """z of file order by the weights that inner units, themselves in file order, read with."""
        read = []
        for x, y in self.in_sequence() or ():
            left, right = x.reader, y.reader
            if left is not None and right is not None and residual_link(Pair(left, right), axis="col") == link:
                shared = min(left.rows, right.rows, MAX_READERS)
                sides = x.model.load(left)[:shared], y.model.load(right)[:shared]
                read.append([unit_rows(centred(side)).T for side in sides])
        if not read:
            return 0.0
        one, two = (np.concatenate([pair[side] for pair in read], axis=1) for side in (0, 1))
        return file_order_z(unit_rows(one), unit_rows(two))

    def _relations_z(self, link: Link) -> float:
        """z of file order by the Gram matrices, which do not depend on the order of inner units.

        The largest over pairs of blocks; over all pairs where it is not known which block is which.
        """
        found = 0.0
        for x, y in self._chosen() or itertools.product(self.a, self.b):
            if x.gram is not None and y.gram is not None and (x.gram[0], y.gram[0]) == link:
                found = max(found, relations_z(_cosines(x.gram[1]), _cosines(y.gram[1])))
        return found

    def _chosen(self) -> BlockPairs | None:
        """At most `MAX_BLOCKS` pairs, spread over the depth; None for models of different depth."""
        in_sequence = self.in_sequence()
        return None if in_sequence is None else in_sequence[:: -(-len(in_sequence) // MAX_BLOCKS) or 1]

    def agreement(self, aligned: Alignments) -> float:
        """How well blocks agree under these alignments of residual streams."""
        chosen = self._chosen()
        if chosen is not None:
            return sum(max(_compare(x, y, aligned, by_spectrum=False), 0.0) for x, y in chosen)
        similarity = self._similarity(aligned, by_spectrum=False)
        return float(similarity[assign(similarity)].clip(min=0).sum())

    def match(self, aligned: Alignments) -> BlockPairs:
        """The best assignment of blocks to blocks of their kind."""
        similarity = self._similarity(aligned, by_spectrum=True)
        found = zip(*assign(similarity), strict=True)
        return [(self.a[i], self.b[j]) for i, j in found if similarity[i, j] > _NEVER]

    def _similarity(self, aligned: Alignments, *, by_spectrum: bool) -> Matrix:
        found = [_compare(x, y, aligned, by_spectrum=by_spectrum) for x in self.a for y in self.b]
        return np.array(found, dtype=np.float32).reshape(len(self.a), len(self.b))


def _compare(x: Block, y: Block, aligned: Alignments, *, by_spectrum: bool) -> float:
    if x.gram is not None and y.gram is not None:
        alignment = aligned.get((x.gram[0], y.gram[0]))
        return _NEVER if alignment is None else agreement_of(x.gram[1], y.gram[1], alignment)
    return _spectral(x, y) if by_spectrum and x.gram is None and y.gram is None else _NEVER


def _spectral(x: Block, y: Block) -> float:
    """Mean over the matrices that both blocks have; `_NEVER` for blocks that share less than half of them."""
    pairs = [pair for pair in pair_specs(x.names, y.names) if pair.a.is_matrix and pair.b.is_matrix]
    most = max(sum(spec.is_matrix for spec in block.names.values()) for block in (x, y))
    if not pairs or 2 * len(pairs) < most:
        return _NEVER
    found = [
        spectral_agreement(x.spectra[pair.a.name], y.spectra[pair.b.name])
        - abs((pair.a.depth or 0) - (pair.b.depth or 0))
        for pair in pairs
    ]
    # Blocks that share all their matrices are preferred to those that share some.
    return float(np.mean(found)) - (1 - len(pairs) / most)


def _spectrum(matrix: Matrix) -> Matrix:
    sigma = np.linalg.svd(balanced(matrix), compute_uv=False)
    places = np.linspace(0, 1, NUM_QUANTILES)
    return np.asarray(np.interp(places, np.linspace(0, 1, len(sigma)), sigma), dtype=np.float32)


def _cosines(gram: Matrix) -> Matrix:
    """Cosines from a Gram matrix, since outliers among the units would decide alone."""
    norms: Matrix = np.sqrt(np.maximum(np.diagonal(gram), np.float32(1e-30)))
    cosines: Matrix = gram / norms / norms[:, None]
    return cosines


def agreement_of(a: Matrix, b: Matrix, alignment: Alignment) -> float:
    """Correlation of two Gram matrices off the diagonal, centred, under an alignment of their units."""
    left, right = alignment.rows(a[:, alignment.a], b[:, alignment.b])
    if alignment.signs is not None:
        right = right * alignment.signs
    left, right = _off_diagonal(left), _off_diagonal(right)
    norm = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float((left * right).sum()) / norm if norm > 0 else 0.0


def _off_diagonal(matrix: Matrix) -> Matrix:
    matrix = matrix.copy()
    np.fill_diagonal(matrix, (matrix.sum() - np.trace(matrix)) / max(matrix.size - len(matrix), 1))
    return centred(matrix)


def spectral_agreement(a: Matrix, b: Matrix) -> float:
    """1 - |a / |a| - b / |b||, for the spectra a and b; 1 for equal ones."""
    left, right = (sigma / max(float(np.linalg.norm(sigma)), 1e-12) for sigma in (a, b))
    return 1 - float(np.linalg.norm(left - right))
