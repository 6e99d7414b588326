"""Which block of one model is which block of another: by depth, or by a quantity that no order of units changes.

For a block with a feed-forward pair that is the Gram matrix `W^T W` of the weights that its inner units read with,
along the residual stream; for other blocks the singular values of their matrices.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

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
from pipeline.lineage.pairing import Group, pair_specs, residual_group
from pipeline.lineage.records import Matrix, ModelWeights
from zoo.tensors import Role, TensorSpec

__all__ = ["BlockMatcher", "agreement_of", "spectral_agreement"]

NUM_QUANTILES = 32
"""Singular values are compared at so many quantiles, so that matrices of any size can be."""
MAX_BLOCKS = 4
"""Blocks that an alignment of a residual stream is judged on, in models of one depth."""
MAX_READERS = 512
"""Inner units of each block on which file order is tested."""
_NEVER = -1e3
Names = Mapping[str, TensorSpec]
Blocks = Mapping[int | None, Names]
Alignments = Mapping[tuple[Group, Group], Alignment]


@dataclass(frozen=True, slots=True)
class BlockMatcher:
    """The blocks of two models; each Gram matrix and spectrum is computed once."""

    a: ModelWeights
    b: ModelWeights
    blocks_a: Blocks
    blocks_b: Blocks
    _grams: dict[tuple[str, int], tuple[Group, Matrix] | None] = field(default_factory=dict)
    _spectra: dict[str, Matrix] = field(default_factory=dict)

    def in_sequence(self) -> list[tuple[int, int]] | None:
        """Block i is block i, of models of one depth; None for others."""
        numbers = [[block for block in blocks if block is not None] for blocks in (self.blocks_a, self.blocks_b)]
        return list(zip(*numbers, strict=True)) if len(numbers[0]) == len(numbers[1]) else None

    def is_in_file_order(self, link: tuple[Group, Group]) -> bool:
        """Whether the blocks show that the units of a residual stream are in file order."""
        return self._reading_z(link) >= FILE_ORDER_Z or self._relations_z(link) >= FILE_ORDER_Z

    def _reading_z(self, link: tuple[Group, Group]) -> float:
        """z of file order by the weights that inner units, themselves in file order, read with."""
        read = []
        for x, y in self.in_sequence() or ():
            left, right = _reader(self.blocks_a[x]), _reader(self.blocks_b[y])
            if left is not None and right is not None and (_stream(left), _stream(right)) == link:
                shared = min(left.rows, right.rows, MAX_READERS)
                sides = self.a.load(left)[:shared], self.b.load(right)[:shared]
                read.append([unit_rows(centred(side)).T for side in sides])
        if not read:
            return 0.0
        one, two = (np.concatenate([pair[side] for pair in read], axis=1) for side in (0, 1))
        return file_order_z(unit_rows(one), unit_rows(two))

    def _relations_z(self, link: tuple[Group, Group]) -> float:
        """z of file order by the Gram matrices, which do not depend on the order of inner units.

        The largest over pairs of blocks; over all pairs where it is not known which block is which.
        """
        pairs = self._chosen()
        if pairs is None:
            pairs = [(x, y) for x in self.blocks_a for y in self.blocks_b if x is not None and y is not None]
        found = 0.0
        for x, y in pairs:
            left, right = self._gram("a", x), self._gram("b", y)
            if left is not None and right is not None and (left[0], right[0]) == link:
                found = max(found, relations_z(_cosines(left[1]), _cosines(right[1])))
        return found

    def _chosen(self) -> list[tuple[int, int]] | None:
        """At most `MAX_BLOCKS` pairs, spread over the depth; None for models of different depth."""
        in_sequence = self.in_sequence()
        return None if in_sequence is None else in_sequence[:: -(-len(in_sequence) // MAX_BLOCKS) or 1]

    def agreement(self, aligned: Alignments) -> float:
        """How well blocks agree under these alignments of residual streams."""
        chosen = self._chosen()
        if chosen is not None:
            return sum(max(self._compare(x, y, aligned, False), 0.0) for x, y in chosen)
        similarity = self._similarity(aligned, by_spectrum=False)
        rows, cols = assign(similarity)
        return float(similarity[rows, cols].clip(min=0).sum())

    def match(self, aligned: Alignments) -> list[tuple[int, int]]:
        """The best assignment of blocks to blocks of their kind."""
        similarity = self._similarity(aligned, by_spectrum=True)
        rows, cols = assign(similarity)
        numbers = [[block for block in blocks if block is not None] for blocks in (self.blocks_a, self.blocks_b)]
        found = zip(rows, cols, strict=True)
        return [(numbers[0][i], numbers[1][j]) for i, j in found if similarity[i, j] > _NEVER]

    def _similarity(self, aligned: Alignments, *, by_spectrum: bool) -> Matrix:
        rows = [
            [self._compare(x, y, aligned, by_spectrum) for y in self.blocks_b if y is not None]
            for x in self.blocks_a
            if x is not None
        ]
        return np.array(rows, dtype=np.float32).reshape(len(rows), -1)

    def _compare(self, x: int, y: int, aligned: Alignments, by_spectrum: bool) -> float:
        left, right = self._gram("a", x), self._gram("b", y)
        if left is not None and right is not None:
            alignment = aligned.get((left[0], right[0]))
            return _NEVER if alignment is None else agreement_of(left[1], right[1], alignment)
        if left is not None or right is not None or not by_spectrum:
            return _NEVER
        return self._spectral(self.blocks_a[x], self.blocks_b[y])

    def _gram(self, side: str, block: int) -> tuple[Group, Matrix] | None:
        if (side, block) not in self._grams:
            model, blocks = (self.a, self.blocks_a) if side == "a" else (self.b, self.blocks_b)
            self._grams[side, block] = _gram_of(blocks[block], model)
        return self._grams[side, block]

    def _spectral(self, left: Names, right: Names) -> float:
        """Mean over the matrices that both blocks have; `_NEVER` for blocks that share less than half of them."""
        pairs = [pair for pair in pair_specs(left, right) if pair.a.is_matrix and pair.b.is_matrix]
        most = max(sum(spec.is_matrix for spec in names.values()) for names in (left, right))
        if not pairs or 2 * len(pairs) < most:
            return _NEVER
        found = [
            spectral_agreement(self._spectrum("a", pair.a, self.a), self._spectrum("b", pair.b, self.b))
            - abs((pair.a.depth or 0) - (pair.b.depth or 0))
            for pair in pairs
        ]
        # Blocks that share all their matrices are preferred to those that share some.
        return float(np.mean(found)) - (1 - len(pairs) / most)

    def _spectrum(self, side: str, spec: TensorSpec, model: ModelWeights) -> Matrix:
        name = f"{side}:{spec.name}"
        if name not in self._spectra:
            sigma = np.linalg.svd(balanced(model.load(spec)), compute_uv=False)
            places = np.linspace(0, 1, NUM_QUANTILES)
            self._spectra[name] = np.interp(places, np.linspace(0, 1, len(sigma)), sigma).astype(np.float32)
        return self._spectra[name]


def _gram_of(names: Names, model: ModelWeights) -> tuple[Group, Matrix] | None:
    """The residual stream of a block with a feed-forward pair, and the Gram matrix of its reading weights, (U, U)."""
    spec = _reader(names)
    group = _stream(spec) if spec is not None else None
    if spec is None or group is None:
        return None
    read = unit_rows(centred(model.load(spec)))
    return group, read.T @ read


def _cosines(gram: Matrix) -> Matrix:
    """Cosines from a Gram matrix, since outliers among the units would decide alone."""
    norms: Matrix = np.sqrt(np.maximum(np.diagonal(gram), np.float32(1e-30)))
    cosines: Matrix = gram / norms / norms[:, None]
    return cosines


def _reader(names: Names) -> TensorSpec | None:
    """The first matrix that inner units of a feed-forward pair read with."""
    return next((spec for spec in names.values() if spec.role is Role.FFN_IN and spec.is_matrix), None)


def _stream(spec: TensorSpec) -> Group | None:
    return residual_group(spec, axis="col")


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
