"""The card of a rebuilt model: what was replaced, by how much, and how well that stands for it."""

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from dna_zoo.text import markdown, printable
from patterndb.records import ModelRecord

if TYPE_CHECKING:
    from library.rebuild.rebuild import Rebuilt

__all__ = ["card_of"]


def card_of(rebuilt: "Rebuilt", model: ModelRecord) -> str:
    """Markdown with the front matter of a Hugging Face card."""
    return "\n".join([*_front(model), "", *_body(rebuilt, model), ""])


def _front(model: ModelRecord) -> Iterator[str]:
    yield "---"
    if model.licence:
        yield f"license: {json.dumps(printable(model.licence))}"
    if model.repo:
        yield f"base_model: {json.dumps(printable(model.repo))}"
    yield "library_name: transformers"
    yield "tags:"
    yield "- dna-zoo"
    yield "---"


def _body(rebuilt: "Rebuilt", model: ModelRecord) -> Iterator[str]:
    request, name = rebuilt.request, markdown(rebuilt.model)
    origin = f" ({markdown(model.repo)}, commit {markdown(str(model.revision))})" if model.repo else ""
    numbers = "float32" if request.bits is None else f"{request.bits} bits"
    yield f"# {name}, rebuilt from its DNA"
    yield ""
    yield (
        f"The matrices of {name}{origin} are replaced by what small coordinate networks, trained on them by"
        f" dna-zoo, say they are. It is a lossy copy: expect it to work worse than the original, or not at all"
        f" (`dna-zoo evaluate` measures it)."
    )
    yield ""
    yield f"- Replaced: {len(rebuilt.tensors)} matrices, {rebuilt.num_weights:,} weights."
    yield f"- Copied: {len(rebuilt.copied)} tensors, {rebuilt.copied_weights:,} numbers."
    if rebuilt.kept:
        yield f"- Left as they were, though the DNA has them: {len(rebuilt.kept)} matrices."
    more = request.residual_bits and f", and a residual of {request.residual_bits} bits a weight with its scales"
    yield (
        f"- Size of what stands for the replaced weights: {rebuilt.bits:,.0f} bits, {rebuilt.bits_per_weight:.4f} a"
        f" weight: networks with numbers of {numbers}, means, scales and orders{more or ''}."
    )
    yield f"- R² of the replaced weights: {rebuilt.r2:.4f}."
    if rebuilt.null_r2 is not None:
        yield (
            f"- The same fit of shuffled copies has R² {rebuilt.null_r2:.4f}; of the DNA alone, in float32,"
            f" {rebuilt.reported_r2:.4f}. Only what is above the shuffled copies is structure."
        )
    yield f"- Budget of the fit: {rebuilt.budget:g} parameters a weight. Run: `{rebuilt.run}`."
    yield f"- Digest of the original's weights: `{model.sha256}`."
    yield "- The files here are as large as the original's: the DNA is decoded. `rebuilt.json` has each matrix."
    yield ""
    yield from _table(rebuilt)


def _table(rebuilt: "Rebuilt") -> Iterator[str]:
    """By role, in the order of the files."""
    yield "| role | matrices | weights | bits a weight | R² | R² of shuffled copies |"
    yield "|---|---|---|---|---|---|"
    for each in rebuilt.roles:
        null = "–" if each.null_r2 is None else f"{each.null_r2:.4f}"
        sizes = (f"{each.weights:,}", f"{each.bits / each.weights:.4f}")
        yield _row((f"`{each.role}`", str(each.matrices), *sizes, f"{each.r2:.4f}", null))


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
