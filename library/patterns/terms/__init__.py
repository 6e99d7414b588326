"""The terms of a shared pattern: what is measured in one tensor, and how a random tensor is given the same.

Each file holds one term: `measure` returns a vector of fixed length that is 0 for random weights of the shape, and
`apply` changes a draw of random weights so that it has the measured values. The terms are applied in the order of
`MATRIX_TERMS`; the scale comes last.
"""

from collections.abc import Mapping

from library.patterns.terms.axis import AxisTerm
from library.patterns.terms.canonical import CanonicalTerm
from library.patterns.terms.norms import NormsTerm
from library.patterns.terms.places import PlacesTerm
from library.patterns.terms.products import PRODUCTS
from library.patterns.terms.scale import ScaleTerm
from library.patterns.terms.spectrum import SpectrumTerm
from library.patterns.terms.term import NullName, Term
from library.patterns.terms.vectors import VECTORS, VectorsTerm

__all__ = ["MATRIX_TERMS", "NULL_OF", "VECTOR_TERM"]

MATRIX_TERMS: tuple[Term, ...] = (
    AxisTerm(),
    PlacesTerm(),
    SpectrumTerm(),
    NormsTerm(),
    CanonicalTerm(),
    ScaleTerm(),
)
"""Terms of one matrix."""
VECTOR_TERM = VectorsTerm()

NULL_OF: Mapping[str, NullName] = {
    **{term.name: term.null for term in MATRIX_TERMS},
    PRODUCTS: "shuffle",
    VECTORS: "roles",
}
"""Term -> what its explained share is compared with: lineages whose tensors are shuffled, or whose subjects are."""
