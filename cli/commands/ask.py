"""`dna-zoo ask`: what the DNA of a model says as functions."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from cli.completion import mined_keys
from cli.numbers import count, fixed, p_value, scientific, signed
from cli.options import FormatOption, flag
from cli.output import Format
from cli.session import session_of
from cli.tables import Column, Columns, Table, escaped, table_of
from dna_zoo.errors import SettingsError

if TYPE_CHECKING:
    from pipeline.dna.alike import Alike
    from pipeline.dna.ask import Answers, Place

__all__ = ["EXAMPLES", "ask"]

EXAMPLES = (
    "dna-zoo ask minilm-l6",
    "dna-zoo ask minilm-l6 --roles --format json | jq .pairs[].q",
    "dna-zoo ask minilm-l6 --tensors '*layer.0*query*' --peaks 3 --at 0.2,-0.5",
    "dna-zoo ask dna.safetensors --layers",
)
SHOWN = 20
"""Pairs that the table shows."""
EVIDENCE = 0.05


def ask(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A mined model, by its key, or a file of DNA.", autocompletion=mined_keys),
    ],
    tensors: Annotated[
        str | None,
        typer.Option("--tensors", metavar="GLOB", help="Ask only tensors with such names, as '*query*'. Default: all."),
    ] = None,
    layers: Annotated[bool, flag("--layers", help="Compare the tensors of one role in any two blocks.")] = False,
    roles: Annotated[bool, flag("--roles", help="Compare query, key and value of each block.")] = False,
    peaks: Annotated[
        int, typer.Option("--peaks", min=0, metavar="N", help="Name the N places of largest size of each tensor.")
    ] = 0,
    at: Annotated[
        list[str] | None,
        typer.Option(
            "--at",
            metavar="R,C[,DEPTH]",
            help="Evaluate at row R and column C in [-1, 1], and at a depth in [0, 1]; may be given again.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Random seed of the null's draws.")] = 0,
    output_format: FormatOption = Format.TABLE,
) -> None:
    """Ask a DNA: which layers and projections are alike as functions, where they peak, what is between the weights."""
    places = [_place(text) for text in at or ()]
    from dna_zoo.dna import load_dna
    from pipeline.dna.ask import ask as ask_dna

    session = session_of(context)
    output = session.output(output_format)
    is_default = not (layers or roles or peaks or places)
    dna = load_dna(model, database=session.db, home=session.home)
    found = ask_dna(
        dna, tensors=tensors, layers=layers or is_default, roles=roles or is_default, peaks=peaks, at=places, seed=seed
    )
    output.result(lambda: found, bare=_bare(found), draw=lambda: _draw(found))
    if found.pairs:
        output.note(_verdict(found))


def _place(text: str) -> tuple[float, float, float | None]:
    """`R,C` or `R,C,DEPTH`."""
    try:
        row, col, *depth = (float(part) for part in text.split(","))
        if len(depth) > 1:
            raise ValueError(text)
    except ValueError as error:
        raise SettingsError(f"`--at` is {text!r}.", hint="Write a row and a column, as 0.25,-0.5.") from error
    return row, col, depth[0] if depth else None


def _bare(found: "Answers") -> Iterator[tuple[str, ...]]:
    """Names and bare numbers for pipes."""
    for pair in found.pairs:
        yield pair.a, pair.b, f"{pair.correlation:.6g}"
    for place in (*found.peaks, *found.places):
        yield place.tensor, *(f"{number:.6g}" for number in (place.row, place.col, place.value))


def _verdict(found: "Answers") -> str:
    """What the comparison comes to, in a sentence."""
    if found.is_shared:
        return (
            "One network serves all tensors. It is smooth along depth, so its layers are alike for that reason alone:"
            " there is no p."
        )
    alike = sum(pair.q is not None and pair.q <= EVIDENCE for pair in found.pairs)
    if not alike:
        return (
            f"None of {len(found.pairs)} pairs is more alike than their means, sizes and smoothness explain"
            f" (q > {EVIDENCE:g})."
        )
    return (
        f"{alike} of {len(found.pairs)} pairs are more alike, or more opposite, than that explains (q <= {EVIDENCE:g})."
    )


def _draw(found: "Answers") -> Iterator[RenderableType]:
    """The DNA in a line, then a table for each thing that was asked."""
    yield escaped(found.dna)
    if found.pairs:
        yield ""
        likely = sorted(found.pairs, key=lambda pair: (1.0 if pair.p is None else pair.p, -abs(pair.correlation)))
        yield table_of(likely[:SHOWN], PAIRS)
        if len(found.pairs) > SHOWN:
            shown = f"{SHOWN} of {count(len(found.pairs))} pairs, the least likely by chance"
            yield f"[dim]{shown}; all with --format json.[/dim]"
    if found.peaks:
        yield ""
        yield _places_table(found.peaks, "Peak of")
    if found.places:
        yield ""
        yield _places_table(found.places, "At")


PAIRS: "Columns[Alike]" = (
    Column("A", lambda pair: escaped(pair.a), shrinks=True),
    Column("B", lambda pair: escaped(pair.b), shrinks=True),
    Column("Correlation", lambda pair: fixed(pair.correlation), right=True, style="bold"),
    Column("null", lambda pair: fixed(pair.null_correlation), right=True),
    Column("± null", lambda pair: fixed(pair.null_std), right=True, optional=1),
    Column("Cosine", lambda pair: fixed(pair.cosine), right=True, optional=2),
    Column("null", lambda pair: fixed(pair.null_cosine), right=True, optional=2),
    Column("z", lambda pair: signed(pair.z), right=True, optional=1),
    Column("p", lambda pair: p_value(pair.p), right=True),
    Column("q", lambda pair: p_value(pair.q), right=True),
)


def _places_table(places: "Sequence[Place]", heading: str) -> Table:
    depth: list[Column[Place]] = [Column("Depth", lambda place: fixed(place.depth), right=True)]
    beside = "Nearest" if heading == "At" else "Gaussian"
    columns: Columns[Place] = (
        Column(heading, lambda place: escaped(place.tensor), shrinks=True),
        Column("Row", lambda place: fixed(place.row), right=True),
        Column("Column", lambda place: fixed(place.col), right=True),
        *(depth if any(place.depth is not None for place in places) else ()),
        Column("Value", lambda place: scientific(place.value), right=True, style="bold"),
        Column("means", lambda place: scientific(place.of_means), right=True),
        Column("SD beyond", lambda place: signed(place.deviations), right=True),
        Column(beside, lambda place: _beside(place), right=True, optional=2),
        Column("File row", lambda place: str(place.file_row), right=True, optional=1),
        Column("File column", lambda place: str(place.file_col), right=True, optional=1),
    )
    return table_of(places, columns)


def _beside(place: "Place") -> str:
    """Of a peak what chance gives, elsewhere the value at the nearest weight."""
    gaussian = getattr(place, "gaussian", None)
    return scientific(place.nearest) if gaussian is None else fixed(gaussian, 1)
