"""Where names and tracing both speak: what they say otherwise, and who decides.

The tracing decides: what it says was derived from the code and holds when it is run. Names keep their word where the
difference is one of words, which changes no symmetry, or where what they say is the safe side of what the tiny model
shows; `NAMES_STAND` lists those, each with the reason. So after `resolved` nothing is left on which the two differ.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from zoo.tensors import CONVOLUTIONS, EMBEDDINGS, Axis, Role, TensorKind, TensorSpec
from zoo.tracing.traced import TracedTensor

__all__ = ["NAMES_STAND", "Disagreement", "disagreements", "resolved"]


@dataclass(frozen=True, slots=True, order=True)
class Disagreement:
    """One kind of tensor on which the two sides differ."""

    tensor: str
    """The name with `*` for numbers."""
    about: str
    """`role`, `rows`, `cols`, `order of axes`, `signs of rows`, ..."""
    by_name: str
    by_tracing: str
    is_vector: bool = False

    @property
    def explanation(self) -> str:
        """Why names keep their word; empty where the tracing decides."""
        if self.is_vector:
            return _VECTOR
        return next(
            (why for about, pattern, why in NAMES_STAND if self.about == about and pattern.search(self._text)), ""
        )

    @property
    def group(self) -> str:
        """What both say, without the tensor."""
        return f"{self.about} {self.by_name} by name, {self.by_tracing} by tracing"

    @property
    def _text(self) -> str:
        return f"{self.tensor}: {self.by_name} / {self.by_tracing}"

    def __str__(self) -> str:
        return f"{self.tensor}: {self.group}"


_VECTOR = "A vector has no axes to align: its role is a word, and the end of a name tells a gain from a shift."
_SAFE = (
    "Names do not tell what stands before it: a pooler with tanh, or no activation. A sign wrongly taken as free costs"
    " odd moments, one missed would break the invariance, so it counts as free (`zoo.signs`)."
)
_OUTER = (
    "Rows that are given out are a label to tracing. Vocabulary, label and the stream that towers share have the same"
    " symmetries: order is free, signs are said apart."
)
_BEHIND = "Behind all layers tracing calls every matrix a head; names see a pair around hidden units, or a pooler."
NAMES_STAND: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (about, re.compile(pattern), why)
    for about, pattern, why in (
        ("signs of cols", r"classifier(?:\.\*)?\.weight: free / fixed", _SAFE),
        ("signs of cols", r"(?:convolution|conv\w*)\.weight: free / fixed", _SAFE),
        ("signs of rows", r"(?:convolution|conv\w*)\.weight: free / fixed", _SAFE),
        ("signs of cols", r"embedding(?:s|_transformation)\.weight: free / fixed", _SAFE),
        ("signs of rows", r"predictions\.transform\.dense\.weight: free / fixed", _SAFE),
        (
            "signs of rows",
            r"pooler\.dense\.weight: free / fixed",
            "A model without a head gives out what its pooler makes, signs included; the head of a whole one does not.",
        ),
        (
            "role",
            r"conv\w*\.weight: convolution / (?:depthwise|pointwise)_convolution",
            "Names read the kernel's own shape; the tiny model's kernel of that form has one place or one channel.",
        ),
        (
            "role",
            r": patch_embedding / (?:depthwise_)?convolution$",
            "Patches that overlap are both. Names call so what reads pixels, by the number of channels.",
        ),
        (
            "role",
            r"quantizer\.weight_proj\.weight: head / router",
            "It chooses among code vectors, as a router among experts; its rows are labels either way.",
        ),
        ("role", r": ffn_(?:in|out) / head$", _BEHIND),
        ("role", r"pooler\.dense\.weight: head / ffn_in$", _BEHIND),
        (
            "role",
            r": (?:ffn_in|ffn_out|head) / bottleneck$",
            "Both sides are sums of several roads, so that tracing calls them streams; names know the module.",
        ),
        (
            "role",
            r": position_embedding / token_embedding$",
            "The tiny image has one place: its number looks like that of a token.",
        ),
        (
            "role",
            r": (?:head / token_embedding|token_embedding / head)$",
            "One tensor that reads tokens and writes them, under either of its names.",
        ),
        (
            "rows",
            r": (?:vocabulary|label|residual) / (?:vocabulary|label|residual)$",
            _OUTER,
        ),
        ("cols", r": (?:vocabulary|label|residual) / (?:vocabulary|label|residual)$", _OUTER),
        (
            "cols",
            r": residual / position$",
            "Fixed waves are added to the stream: its order is real. To take it as free loses nothing but bits.",
        ),
        ("rows", r": label / position$", "Labels of a real order; to take it as free loses nothing but bits."),
    )
)
"""About what, which tensors (`name: by name / by tracing`), and why names keep their word."""


def resolved(spec: TensorSpec, traced: TracedTensor) -> TensorSpec:
    """What names say of a tensor, but for what the tracing decides."""
    decided = {each.about for each in _disagreements(spec, traced) if not each.explanation}
    if "role" in decided:
        spec = replace(_turned(spec, traced), role=traced.role)
        decided = {"rows", "cols", "signs of rows", "signs of cols"}
    if "order of axes" in decided:
        spec = _turned(spec, traced)
    rows = _side("rows", decided, (spec.row_axis, spec.free_row_signs), (traced.row_axis, _free_rows(spec, traced)))
    cols = _side("cols", decided, (spec.col_axis, spec.free_col_signs), (traced.col_axis, traced.free_col_signs))
    return replace(spec, row_axis=rows[0], free_row_signs=rows[1], col_axis=cols[0], free_col_signs=cols[1])


def _side(side: str, decided: set[str], named: tuple[Axis, bool], traced: tuple[Axis, bool]) -> tuple[Axis, bool]:
    """The axis along one side and whether its signs are free, each by who decides it."""
    if side in decided:
        keeps_signs = f"signs of {side}" not in decided and _is_free(*named) != _is_free(*traced)
        return traced[0], _is_free(*named) if keeps_signs else traced[1]
    return named[0], _is_free(*traced) if f"signs of {side}" in decided else named[1]


def disagreements(specs: Iterable[TensorSpec], traced: Mapping[str, TracedTensor]) -> list[Disagreement]:
    """All of them, each kind of tensor once.

    - `traced`: by the name of the tensor, as `TracedWiring.find` gives it.
    """
    found = {each for spec in specs if spec.tensor in traced for each in _disagreements(spec, traced[spec.tensor])}
    return sorted(found)


def _disagreements(spec: TensorSpec, other: TracedTensor) -> Iterator[Disagreement]:
    if spec.kind is not TensorKind.WEIGHT:
        return
    name = re.sub(r"(?<=\.)\d+(?=\.)", "*", spec.name)
    for about, by_name, by_tracing in _differences(spec, other):
        yield Disagreement(name, about, by_name, by_tracing, is_vector=not spec.is_matrix)


def _differences(spec: TensorSpec, other: TracedTensor) -> Iterator[tuple[str, str, str]]:
    if not other.is_known:
        # A fused projection does several things, and none is its role; what it reads is known.
        if spec.row_slice is not None and other.ndim == 2:
            yield from _sign_differences(spec, other, ("cols",))
        return
    if spec.role is Role.OTHER:
        return  # Names do not speak.
    if spec.role is not other.role:
        yield "role", spec.role, other.role
    if not spec.is_matrix:
        return
    if spec.role is other.role:
        if spec.transposed != other.transposed:
            yield "order of axes", _stored(spec.transposed), _stored(other.transposed)
        if spec.row_axis is not other.row_axis:
            yield "rows", spec.row_axis, other.row_axis
        if spec.col_axis is not other.col_axis:
            yield "cols", spec.col_axis, other.col_axis
    if spec.role is other.role:
        yield from _sign_differences(spec, other, ("rows", "cols"))
    elif {spec.role, other.role}.isdisjoint((*CONVOLUTIONS, *EMBEDDINGS)):
        # Under the word of names the signs are those of the tracing, but for axes that are free in every network.
        sides = (("rows", spec.row_axis), ("cols", spec.col_axis))
        yield from _sign_differences(spec, other, tuple(side for side, axis in sides if not axis.is_sign_free))


def _sign_differences(spec: TensorSpec, other: TracedTensor, sides: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    known = {
        "rows": (spec.row_axis, other.row_axis, spec.free_row_signs, _free_rows(spec, other)),
        "cols": (spec.col_axis, other.col_axis, spec.free_col_signs, other.free_col_signs),
    }
    for side in sides:
        axis, other_axis, by_name, by_tracing = known[side]
        is_free, other_is_free = _is_free(axis, by_name), _is_free(other_axis, by_tracing)
        if is_free != other_is_free:
            yield f"signs of {side}", _signs(is_free), _signs(other_is_free)


def _is_free(axis: Axis, is_free: bool) -> bool:
    return axis.is_sign_free or is_free


def _free_rows(spec: TensorSpec, traced: TracedTensor) -> bool:
    """Of the part of a fused matrix that `spec` is, where the tracing tells its parts apart."""
    if spec.row_slice is None or spec.row_period is not None or not traced.free_parts:
        return traced.free_row_signs
    start, stop = spec.row_slice
    place, rest = divmod(start, max(1, stop - start))
    is_part = not rest and place < len(traced.free_parts)
    return traced.free_parts[place] if is_part else traced.free_row_signs


def _turned(spec: TensorSpec, traced: TracedTensor) -> TensorSpec:
    """Read as (out, in) whatever the order in the file is."""
    if spec.transposed == traced.transposed or spec.row_slice is not None:
        return spec
    return replace(spec, rows=spec.cols, cols=spec.rows, transposed=traced.transposed)


def _stored(transposed: bool) -> str:
    return "(in, out)" if transposed else "(out, in)"


def _signs(is_free: bool) -> str:
    return "free" if is_free else "fixed"
