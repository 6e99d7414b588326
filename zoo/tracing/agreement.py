"""What names say otherwise than tracing, wherever both speak: roles, axes, free signs, heads.

A disagreement is a fault of one side, or a difference of words that changes no symmetry; `EXPLAINED` lists those.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from zoo.config import HEADS, Config, number_in
from zoo.tensors import Role, TensorKind, TensorSpec
from zoo.tracing.traced import TracedTensor, TracedWiring

__all__ = ["EXPLAINED", "Disagreement", "disagreements", "heads_disagree"]


@dataclass(frozen=True, slots=True, order=True)
class Disagreement:
    """One kind of tensor on which the two sides differ."""

    tensor: str
    """The name with `*` for numbers."""
    about: str
    """`role`, `rows`, `cols`, `order of rows`, `signs of rows`, ..."""
    by_name: str
    by_tracing: str

    @property
    def explanation(self) -> str:
        """Why it is none; empty where nothing is known that explains it."""
        return next(
            (why for about, pattern, why in EXPLAINED if self.about == about and pattern.search(self._text)), ""
        )

    @property
    def _text(self) -> str:
        return f"{self.tensor}: {self.by_name} / {self.by_tracing}"

    def __str__(self) -> str:
        return f"{self.tensor}: {self.about} {self.by_name} by name, {self.by_tracing} by tracing"


_SAFE = (
    "Names do not tell what stands before it: a pooler with tanh, or no activation. A sign wrongly taken as free costs"
    " odd moments, one missed would break the invariance, so it counts as free (`zoo.signs`)."
)
EXPLAINED: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (about, re.compile(pattern), why)
    for about, pattern, why in (
        ("signs of cols", r"classifier(?:\.\*)?\.weight: free / fixed", _SAFE),
        ("signs of cols", r"(?:convolution|conv\w*)\.weight: free / fixed", _SAFE),
        ("signs of rows", r"(?:convolution|conv\w*)\.weight: free / fixed", _SAFE),
        ("signs of cols", r"embedding(?:s|_transformation)\.weight: free / fixed", _SAFE),
        ("signs of rows", r"predictions\.transform\.dense\.weight: free / fixed", _SAFE),
        (
            "role",
            r"conv\w*\.weight: convolution / (?:depthwise|pointwise)_convolution",
            "Names read the kernel's own shape; the tiny model's kernel of that form has one place or one channel.",
        ),
        (
            "role",
            r"quantizer\.weight_proj\.weight: head / router",
            "It chooses among code vectors, as a router among experts; its rows are labels either way.",
        ),
        (
            "rows",
            r"(?:text_projection|visual_projection|project_\w+)\.weight: residual / label",
            "What a model gives out is a label to tracing; names call the space that two towers share a stream.",
        ),
        ("rows", r"lm_head\.weight: vocabulary / label", "The letters of a transcription are both."),
        (
            "rows",
            r"pooler\.dense\.weight: residual / label",
            "A model without a head gives out what its pooler makes; with one, the head reads it.",
        ),
        (
            "signs of rows",
            r"pooler\.dense\.weight: free / fixed",
            "A model without a head gives out what its pooler makes, signs included; the head of a whole one does not.",
        ),
    )
)
"""About what, which tensors (`name: by name / by tracing`), and why both are right."""


def disagreements(specs: Iterable[TensorSpec], traced: Mapping[str, TracedTensor]) -> list[Disagreement]:
    """All of them, each kind of tensor once.

    - `specs`: by names alone.
    - `traced`: by the name of the tensor, as `TracedWiring.find` gives it.
    """
    found = set[Disagreement]()
    for spec in specs:
        other = traced.get(spec.tensor)
        if other is None or spec.kind is not TensorKind.WEIGHT or not other.is_known:
            continue
        name = re.sub(r"(?<=\.)\d+(?=\.)", "*", spec.name)
        found |= {Disagreement(name, *each) for each in _differences(spec, other)}
    return sorted(found)


def _differences(spec: TensorSpec, other: TracedTensor) -> Iterable[tuple[str, str, str]]:
    if spec.role is not other.role and spec.role is not Role.OTHER:
        yield "role", spec.role, other.role
    if not spec.is_matrix or spec.role is not other.role:
        return
    if spec.transposed != other.transposed:
        yield "order of axes", _stored(spec.transposed), _stored(other.transposed)
    sides = (
        ("rows", spec.row_axis, other.row_axis, spec.free_row_signs, other.free_row_signs),
        ("cols", spec.col_axis, other.col_axis, spec.free_col_signs, other.free_col_signs),
    )
    for side, axis, other_axis, by_name, by_tracing in sides:
        if axis is not other_axis:
            yield side, axis, other_axis
        is_free, other_is_free = (
            each.is_sign_free or free for each, free in ((axis, by_name), (other_axis, by_tracing))
        )
        if is_free != other_is_free:
            yield f"signs of {side}", _signs(is_free), _signs(other_is_free)


def _stored(transposed: bool) -> str:
    return "(in, out)" if transposed else "(out, in)"


def _signs(is_free: bool) -> str:
    return "free" if is_free else "fixed"


def heads_disagree(config: Config, wiring: TracedWiring) -> str:
    """How the number of heads that `config` (of the tiny model) states differs from the traced one; empty if not.

    Heads move with the key head that they share, where keys have fewer.
    """
    said, groups = number_in(config, *HEADS), number_in(config, "num_key_value_heads")
    if said is None or wiring.heads is None or wiring.heads in (said, groups, said // (groups or said)):
        return ""
    return f"{said} heads by configuration, {wiring.heads} by tracing"
